import { token } from "../eventlog/subjects.ts";

/** The subjects of one blob. */
export interface BlobSubjects {
  /** Says that somebody is storing it; gone when they are done. */
  readonly begun: string;
  /** Its bytes, segment by segment. */
  segment(index: number): string;
  /** The filter of all its segments. */
  readonly segments: string;
  /** Says that it is there. */
  readonly stored: string;
}

/**
 * The subjects of blobs, the tokens of a name as tokens of a subject: `<prefix>.blob.begun.<name>`,
 * `<prefix>.blob.bytes.<name>.<segment>`, `<prefix>.blob.stored.<name>`.
 */
export interface AllBlobSubjects {
  of(name: string): BlobSubjects;
  /** The name in a subject of `begun` or `stored`. */
  nameIn(subject: string): string;
  readonly all: string;
  readonly allBegun: string;
  readonly allStored: string;
}

/** Subjects below `prefix`. */
export function createBlobSubjects(prefix: string): AllBlobSubjects {
  const root = `${prefix}.blob`;
  return {
    all: `${root}.>`,
    allBegun: `${root}.begun.>`,
    allStored: `${root}.stored.>`,
    of(name) {
      const tokens = name.split("/").map(token).join(".");
      return {
        begun: `${root}.begun.${tokens}`,
        segment: (index) => `${root}.bytes.${tokens}.${index}`,
        segments: `${root}.bytes.${tokens}.*`,
        stored: `${root}.stored.${tokens}`,
      };
    },
    nameIn: (subject) =>
      subject
        .slice(root.length + 1)
        .split(".")
        .slice(1)
        .join("/"),
  };
}
