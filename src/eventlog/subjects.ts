/** Names one aggregate of one tenant. */
export interface StreamKey {
  readonly workspaceId: string;
  /** The noun: `run`, `agent`. */
  readonly type: string;
  /** The id, prefix included. */
  readonly id: string;
}

/** A part of the log that somebody may look at; unset fields keep everything. */
export interface View {
  readonly workspaceId: string;
  readonly roomId?: string;
  readonly stream?: { readonly type: string; readonly id: string };
}

/**
 * How names become NATS subjects: `<prefix>.evt.<partition>.<workspace>.<room or _>.<stream type>.<stream id>`.
 * Every token is checked by the contract's id patterns before it comes here; `token` holds the line once more.
 */
export interface Subjects {
  /** The subject of an aggregate's events; `roomId` is empty for none. */
  of(key: StreamKey, roomId: string): string;
  /** The filter that finds an aggregate whose room is not known. */
  anyRoom(key: StreamKey): string;
  /** The filter of a view. */
  view(view: View): string;
  /** The filter of the whole log. */
  readonly all: string;
}

/** One partition for now: a workspace never straddles two, so more of them is a matter of this token only. */
const partition = "0";

/** Subjects below `prefix` (default `sb`; tests take one of their own). */
export function createSubjects(prefix = "sb"): Subjects {
  const root = `${prefix}.evt`;
  return {
    all: `${root}.>`,
    of: (key, roomId) =>
      `${root}.${partition}.${token(key.workspaceId)}.${roomId === "" ? "_" : token(roomId)}.${token(key.type)}.${token(key.id)}`,
    anyRoom: (key) => `${root}.${partition}.${token(key.workspaceId)}.*.${token(key.type)}.${token(key.id)}`,
    view: (view) => {
      const room = view.roomId ? token(view.roomId) : "*";
      const start = `${root}.${partition}.${token(view.workspaceId)}.${room}`;
      return view.stream ? `${start}.${token(view.stream.type)}.${token(view.stream.id)}` : `${start}.>`;
    },
  };
}

/** True when the subject is kept by the filter (`*` one token, `>` the rest). */
export function subjectMatches(filter: string, subject: string): boolean {
  if (filter === subject) return true;
  const want = filter.split(".");
  const have = subject.split(".");
  for (let i = 0; i < want.length; i++) {
    if (want[i] === ">") return have.length > i;
    if (i >= have.length || (want[i] !== "*" && want[i] !== have[i])) return false;
  }
  return want.length === have.length;
}

/** The value, if it may stand between the dots of a subject. Throws for anything else. */
export function token(value: string): string {
  if (!/^[A-Za-z0-9_:-]+$/.test(value)) throw new Error(`not a subject token: ${JSON.stringify(value)}`);
  return value;
}
