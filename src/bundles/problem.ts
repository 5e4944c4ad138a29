/** What does not fit: the zip itself, what the manifest says, an event, the run, an artifact, the head, a byte between files. */
export type ProblemKind = "zip" | "manifest" | "event" | "run" | "artifact" | "head" | "container";

/** The first thing about a bundle that does not fit. `message` says it to people. */
export class BundleProblem extends Error {
  override readonly name = "BundleProblem";
  readonly kind: ProblemKind;
  /** Where: a file, a line of it, or a byte of the zip. */
  readonly place: string;

  constructor(kind: ProblemKind, place: string, message: string, cause?: unknown) {
    super(message, { cause });
    this.kind = kind;
    this.place = place;
  }
}
