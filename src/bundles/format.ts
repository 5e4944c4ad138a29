import { toJson } from "@bufbuild/protobuf";
import { type Run, RunSchema } from "../../gen/signalbox/v1/run_pb.ts";
import { safeFileName } from "./file-name.ts";

/** The format of a bundle, as its manifest says it. Another number when what is written for the same events changes. */
export const bundleFormat = "signalbox-bundle-v1";

/** The run after the bundle's last event. The first file. */
export const runPath = "run.json";
/** The events of the run's stream. The second file. */
export const eventsPath = "events.jsonl";
/** What the bundle has, and what it leaves out. The last file. */
export const manifestPath = "manifest.json";

/** Artifacts of one run that a bundle can tell of: zips of more than 65,535 files are not readable everywhere. */
export const maxArtifacts = 10_000;

/** The state of an artifact, as its stream says; `absent` while only its run's stream knows of it. */
export const standings = ["absent", "available", "deleted", "expired", "purged"] as const;
export type Standing = (typeof standings)[number];

/**
 * Why a bundle has no bytes of an artifact: they were not asked for, the caller may not read them, they are gone, only their
 * recipient can open them, or the artifact's own stream is not there yet.
 */
export const omissions = ["not_selected", "not_permitted", "gone", "sealed", "not_recorded"] as const;
export type Omission = (typeof omissions)[number];

/** Where an artifact's bytes are. Every artifact has a folder of its own, so names can not collide. */
export function artifactPath(artifactId: string, name: string): string {
  return `artifacts/${artifactId}/${safeFileName(name)}`;
}

/** The bytes of run.json. */
export function runText(run: Run): Uint8Array {
  return jsonText(toJson(RunSchema, run));
}

/** A JSON value as files have it: indented, with a line break at the end, in UTF-8. */
export function jsonText(value: unknown): Uint8Array {
  return Buffer.from(`${JSON.stringify(value, undefined, 2)}\n`);
}
