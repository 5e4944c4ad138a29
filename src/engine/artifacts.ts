import { fromJson, toJson } from "@bufbuild/protobuf";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import { type Artifact, ArtifactSchema } from "../../gen/signalbox/v1/artifact_pb.ts";
import type { Run } from "../../gen/signalbox/v1/run_pb.ts";
import type { JsonValue } from "../client/json.ts";
import { type ArtifactContent, openContent } from "./artifact-content.ts";
import type { ArtifactStore, SpecInit } from "./artifact-store.ts";
import type { Command } from "./command.ts";
import type { Commands } from "./commands.ts";
import type { ArtifactOptions, HandlerContext, StepScope } from "./handler.ts";
import { HandlerError } from "./handler-error.ts";
import { requestIdOf } from "./request-id.ts";
import { resultOf, type Steps } from "./steps.ts";

/** What artifacts need. */
export interface ArtifactsOptions {
  readonly run: Run;
  readonly store: ArtifactStore;
  readonly commands: Commands;
  readonly steps: Steps;
}

/** Artifacts, each stored once per run. */
export function createArtifacts({ run, store, commands, steps }: ArtifactsOptions): HandlerContext["artifact"] {
  async function put(command: Command, spec: SpecInit, given: ArtifactContent, scope: StepScope): Promise<JsonValue> {
    using content = await openContent(given, scope.signal);
    const artifact = await store.put(requestIdOf(run, command), { ...spec, stepId: scope.stepId }, content);
    return toJson(ArtifactSchema, artifact);
  }

  return (name, content, options = {}) =>
    commands.perform<Artifact>({
      kind: "artifact",
      name,
      async live(command) {
        const fn = (scope: StepScope) => put(command, specOf(name, content, options), content, scope);
        return artifactOf(await steps.perform<JsonValue>(command, { init: {}, retry: undefined, fn }));
      },
      replayed: (end) => artifactOf(resultOf<JsonValue>(end)),
    });
}

function specOf(name: string, content: ArtifactContent, options: ArtifactOptions): SpecInit {
  const { labels, visibility, recipient, retentionMs } = options;
  const contentType = options.contentType ?? (typeof content === "string" ? "text/plain; charset=utf-8" : "");
  const retention = retentionMs === undefined ? undefined : durationFromMs(retentionMs);
  return { name, contentType, labels: { ...labels }, visibility, recipient, retention };
}

/** The artifact as its step has it on record. */
function artifactOf(output: JsonValue): Artifact {
  try {
    return fromJson(ArtifactSchema, output, { ignoreUnknownFields: true });
  } catch (cause) {
    throw new HandlerError("BAD_ANSWER", "the record of the step has no artifact", { retryable: false, cause });
  }
}
