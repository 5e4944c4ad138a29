import type { JsonValue } from "@bufbuild/protobuf";
import type { BundleProblem } from "../../bundles/problem.ts";
import type { VerifiedArtifact, VerifiedBundle } from "../../bundles/verify.ts";
import { table } from "./table.ts";
import { sizeText } from "./values.ts";

const omissionTexts: Record<NonNullable<VerifiedArtifact["omitted"]>, string> = {
  not_selected: "no: not selected",
  not_permitted: "no: whoever made the bundle may not read it",
  gone: "no: its bytes are gone",
  sealed: "no: only its recipient can open it",
  not_recorded: "no: only the run knew of it yet",
};

/** What a bundle that fits proves, and what it can not. */
export function proofOf({ isPinned }: VerifiedBundle): { readonly proved: string[]; readonly notProved: string[] } {
  const pinned = "the last event is the one whose hash you gave, so no event before it was changed, added or left out";
  const unpinned =
    "that the log has this history: who makes the whole bundle anew can make it fit. Compare the head hash with one " +
    "that you have from elsewhere: --head";
  return {
    proved: [
      "the events are one unbroken chain of hashes, from the run's creation on",
      "run.json, the manifest and every readable event say what the stored events say",
      "the artifacts in it have the bytes that the run recorded",
      ...(isPinned ? [pinned] : []),
    ],
    notProved: [
      ...(isPinned ? [] : [unpinned]),
      "what happened after the last event, and the status of artifacts, which the server said when it made the bundle",
    ],
  };
}

/** A bundle that fits, for programs. */
export function bundleJson(bundle: VerifiedBundle): { [name: string]: JsonValue } {
  const { workspaceId, runId, eventCount, headPosition, headHash, isPinned, sizeBytes } = bundle;
  const artifacts = bundle.artifacts.map(({ omitted, sizeBytes: size, ...artifact }) => {
    return { ...artifact, sizeBytes: String(size), included: omitted === undefined, ...(omitted && { omitted }) };
  });
  const head = { headPosition: String(headPosition), headHash, isPinned };
  return { workspaceId, runId, eventCount, ...head, sizeBytes: String(sizeBytes), artifacts };
}

/** A bundle that fits, for people: `7 events of run run_… up to position 12, 2 of 3 artifacts, 1.2 MB`. */
export function bundleText({ eventCount, runId, headPosition, artifacts, sizeBytes }: VerifiedBundle): string {
  const included = artifacts.filter(({ omitted }) => omitted === undefined).length;
  const events = `${eventCount} ${eventCount === 1 ? "event" : "events"} of run ${runId} up to position ${headPosition}`;
  const files = artifacts.length === 0 ? "no artifacts" : `${included} of ${artifacts.length} artifacts`;
  return `${events}, ${files}, ${sizeText(sizeBytes)}`;
}

/** The artifacts of the run, with what the bundle has of them; empty without any. */
export function bundledArtifacts({ artifacts }: VerifiedBundle): string {
  if (artifacts.length === 0) return "";
  const rows = artifacts.map(({ artifactId, name, sizeBytes, status, omitted }) => {
    return [artifactId, name, sizeText(sizeBytes), status, omitted === undefined ? "yes" : omissionTexts[omitted]];
  });
  return table(["ARTIFACT", "NAME", "SIZE", "STATUS", "IN THE BUNDLE"], rows);
}

/** What does not fit, for people. */
export function problemText(path: string, { place, message }: BundleProblem): string {
  return `${path} does not fit together\n\nfirst at ${place}: ${message}`;
}

/** What does not fit, for programs. */
export function problemJson({ kind, place, message }: BundleProblem): { [name: string]: JsonValue } {
  return { kind, place, message };
}
