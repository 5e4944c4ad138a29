import type { RoomMember } from "../../gen/signalbox/v1/room_pb.ts";
import { handleKey, maxHandleLength } from "./handle.ts";
import { proseOf } from "./markdown-code.ts";

/** The most members that one message calls. */
const maxMentions = 20;

/**
 * The members whom a Markdown text calls by `@handle`, in order, each once, at most 20. Case makes no difference. Code calls
 * nobody, nor does `\@handle`, an address like `me@handle`, or a path like `/@handle`; dots, dashes and underscores at the end
 * belong to the sentence when no handle ends so.
 */
export function mentionedIn(text: string, members: Iterable<RoomMember>): RoomMember[] {
  const byHandle = new Map([...members].map((member) => [handleKey(member.handle), member]));
  const found = new Set<RoomMember>();
  for (const paragraph of proseOf(text)) {
    for (const [, called = ""] of paragraph.matchAll(
      /(?<![\p{L}\p{N}_@/\\.-])@([A-Za-z0-9][A-Za-z0-9_.-]*)(?![\p{L}\p{N}])/gu,
    )) {
      const member = memberOf(handleKey(called), byHandle);
      if (member !== undefined) found.add(member);
      if (found.size === maxMentions) return [...found];
    }
  }
  return [...found];
}

function memberOf(called: string, byHandle: ReadonlyMap<string, RoomMember>): RoomMember | undefined {
  let stem = called.length;
  while (stem > 0 && "_.-".includes(called.charAt(stem - 1))) stem--;
  // What is cut off one by one ends soon: no handle is longer.
  for (let length = Math.min(called.length, maxHandleLength); length >= stem; length--) {
    const member = byHandle.get(called.slice(0, length));
    if (member !== undefined) return member;
  }
  return undefined;
}
