import { createHash } from "node:crypto";
import { toBinary } from "@bufbuild/protobuf";
import { type Value, ValueSchema } from "@bufbuild/protobuf/wkt";
import { ArtifactPurpose, ArtifactVisibility } from "../../gen/signalbox/v1/artifact_pb.ts";
import type { Run } from "../../gen/signalbox/v1/run_pb.ts";
import { type JsonValue, jsonValue } from "../client/json.ts";
import { openContent } from "./artifact-content.ts";
import type { ArtifactStore } from "./artifact-store.ts";
import type { Entry } from "./entry.ts";
import { HandlerError, runErrorOf } from "./handler-error.ts";
import type { Ending } from "./ledger.ts";

/** Where the outputs of steps are that are too large for the log. */
export interface StepOutputs {
  /**
   * How the end of a step is to be recorded: a large output is in an artifact first. One that the server does not keep becomes a
   * failure. Throws the lease's reason once that is over.
   */
  keep(step: Entry, ending: Ending): Promise<Ending>;
  /** The output that an artifact has. Throws a HandlerError when it can not be read. */
  load(artifactId: string): Promise<Value>;
}

/** Outputs of more bytes, as the record has them, are kept in artifacts. */
const maxRecordedBytes = 256 * 1024;

/** The outputs of a run's steps. */
export function createStepOutputs(store: ArtifactStore, { runId }: Pick<Run, "runId">): StepOutputs {
  async function put({ id: stepId, command }: Entry, output: Value): Promise<string> {
    const text = textOf(output);
    // A step that is done again after a crash may have another output; it is another artifact then.
    const requestId = `${runId}/${stepId}/${createHash("sha256").update(text).digest("hex")}`;
    const spec = {
      name: `${command.key}.json`,
      contentType: "application/json",
      stepId,
      purpose: ArtifactPurpose.STEP_OUTPUT,
      // Whoever may read the record may read the outputs in it, also who retries the run.
      visibility: ArtifactVisibility.WORKSPACE,
    };
    using content = await openContent(text);
    return (await store.put(requestId, spec, content)).artifactId;
  }

  return {
    async keep(step, ending) {
      if (!ending.ok || ending.output === undefined) return ending;
      if (toBinary(ValueSchema, ending.output).length <= maxRecordedBytes) return ending;
      try {
        return { ...ending, outputArtifactId: await put(step, ending.output) };
      } catch (error) {
        if (!(error instanceof HandlerError)) throw error;
        return { ok: false, error: runErrorOf(error) };
      }
    },
    load: async (artifactId) => outputIn(await store.get(artifactId)),
  };
}

/** The output that the bytes of an artifact are. */
export function outputIn(bytes: Uint8Array): Value {
  const text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  return jsonValue(JSON.parse(text) as JsonValue);
}

/** The value as JSON from which exactly the same value comes back, -0 and keys like `__proto__` included. */
function textOf({ kind }: Value): string {
  switch (kind.case) {
    case "nullValue":
      return "null";
    case "boolValue":
      return String(kind.value);
    case "numberValue":
      return Object.is(kind.value, -0) ? "-0" : String(kind.value);
    case "stringValue":
      return JSON.stringify(kind.value);
    case "listValue":
      return `[${kind.value.values.map(textOf).join(",")}]`;
    case "structValue":
      return `{${Object.entries(kind.value.fields)
        .map(([key, value]) => `${JSON.stringify(key)}:${textOf(value)}`)
        .join(",")}}`;
    case undefined:
      throw new TypeError("a google.protobuf.Value without a kind has no JSON");
  }
}
