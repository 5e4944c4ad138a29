import type { Value } from "@bufbuild/protobuf/wkt";
import type { RunMessage } from "../../gen/signalbox/v1/run_pb.ts";
import {
  type CancelRunRequest,
  type PauseRunRequest,
  type ResumeRunRequest,
  type SendMessageRequest,
  SendMessageRequestSchema,
} from "../../gen/signalbox/v1/run_service_pb.ts";
import type { Aggregates, Draft } from "../eventlog/aggregates.ts";
import type { Call } from "../kernel/call.ts";
import { requestDigest } from "../kernel/digest.ts";
import { derivedId, type IdSource } from "../kernel/ids.ts";
import { type Limits, requireStorable } from "../kernel/limits.ts";
import { cancelRun, runNotFound } from "./decider.ts";
import { messageOf } from "./message.ts";
import { receiveMessage } from "./message-decider.ts";
import { pauseRun, resumeRun } from "./pause-decider.ts";
import type { RunAt } from "./starts.ts";
import type { LiveRun, RunState } from "./state.ts";

/** What clients do to runs that are there. Every function throws the errors that run_service.proto names. */
export interface Steering {
  cancel(call: Call, request: CancelRunRequest): Promise<RunAt>;
  pause(call: Call, request: PauseRunRequest): Promise<RunAt>;
  resume(call: Call, request: ResumeRunRequest): Promise<RunAt>;
  sendMessage(call: Call, request: SendMessageRequest): Promise<RunAt & { readonly message: RunMessage | undefined }>;
}

/** What steering needs. */
export interface SteeringDeps {
  readonly aggregates: Aggregates<RunState>;
  readonly ids: IdSource;
  readonly limits: Limits;
}

/** Steers runs on a log. */
export function createSteering({ aggregates, ids, limits }: SteeringDeps): Steering {
  async function execute(call: Call, runId: string, decide: (state: RunState, now: Date) => Draft | undefined) {
    const { state, position, recorded } = await aggregates.execute({ call, id: runId, decide });
    if (state.status === "absent") throw runNotFound(runId);
    return { state, run: state.run, position, recorded };
  }

  return {
    async cancel(call, { runId, reason }) {
      const { run, position } = await execute(call, runId, (state) => cancelRun(state, runId, reason));
      return { run, position };
    },
    async pause(call, { runId, note }) {
      const by = call.principal;
      const { run, position } = await execute(call, runId, (state) => pauseRun(state, runId, { note, by }));
      return { run, position };
    },
    async resume(call, { runId, note, budget }) {
      const { run, position } = await execute(call, runId, (state, now) =>
        resumeRun(state, runId, { note, budget }, now),
      );
      return { run, position };
    },
    async sendMessage(call, request) {
      const { runId, requestId, threadId, content } = request;
      requireStorable("content", content, limits.maxInputBytes);
      const repeatable = requestId !== "";
      const messageId = repeatable ? derivedId("msg", call.workspaceId, runId, requestId) : ids.next("msg");
      const digest = repeatable ? requestDigest(SendMessageRequestSchema, request) : new Uint8Array();
      const { state, run, position, recorded } = await execute(call, runId, (before) =>
        receiveMessage(before, runId, { messageId, threadId, content, requestDigest: digest }),
      );
      const message = recorded ? messageOf(recorded.event) : sentBefore(state, messageId, content);
      return { run, position, message };
    },
  };
}

/** The message of an earlier call with the same body. */
function sentBefore({ messages }: LiveRun, messageId: string, content: Value | undefined): RunMessage | undefined {
  const sent = messages.repeatable.get(messageId);
  return sent && { ...sent.message, content };
}
