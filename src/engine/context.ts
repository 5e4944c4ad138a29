import type { SignalboxClient } from "../client/clients.ts";
import type { ModelClient } from "../models/model.ts";
import type { ToolRegistry } from "../tools/registry.ts";
import { actorsOf } from "./actors.ts";
import { createApprovals } from "./approvals.ts";
import type { ArtifactStore } from "./artifact-store.ts";
import { createArtifacts } from "./artifacts.ts";
import { createChance } from "./chance.ts";
import { createChildren } from "./children.ts";
import { type Commands, mayBeLeftAlone } from "./commands.ts";
import type { Course } from "./course.ts";
import type { Emitter } from "./emit.ts";
import type { HandlerContext } from "./handler.ts";
import type { Claim, Engine, Lease } from "./lease.ts";
import type { Ledger } from "./ledger.ts";
import { type WorkerLog, withFields } from "./log.ts";
import { createMessages } from "./messages.ts";
import { createModelRequests } from "./model-requests.ts";
import { serverClock } from "./server-clock.ts";
import { createSleeps } from "./sleeps.ts";
import type { StepOutputs } from "./step-outputs.ts";
import { createSteps } from "./steps.ts";
import type { Telemetry } from "./telemetry.ts";
import { createToolCalls } from "./tool-calls.ts";

/** What the handlers of a worker have in common. */
export interface Equipment {
  readonly client: SignalboxClient;
  readonly engine: Engine;
  readonly tools: ToolRegistry;
  /** Undefined when the worker has no models. */
  readonly models: ModelClient | undefined;
  readonly telemetry: Telemetry;
  /** Sleeps that last longer than this, in milliseconds, are waited for without a worker. */
  readonly longestHeldSleepMs: number;
}

/** What one attempt adds to it. */
export interface ContextOptions {
  readonly equipment: Equipment;
  readonly claim: Claim;
  readonly lease: Lease;
  readonly ledger: Ledger;
  readonly store: ArtifactStore;
  readonly outputs: StepOutputs;
  readonly course: Course;
  readonly commands: Commands;
  readonly emitter: Emitter;
  readonly log: WorkerLog;
}

/** The context of one attempt, and what is to be done when the handler has ended. */
export interface OpenContext {
  readonly context: HandlerContext;
  /** Resolves when no tool is under way whose outcome would be unknown later, and what was emitted has been shown. */
  settle(): Promise<void>;
}

/** The context of one attempt. */
export function createContext(options: ContextOptions): OpenContext {
  const { equipment, claim, lease, ledger, store, outputs, course, commands, emitter, log } = options;
  const { run, leaseToken, unknownToolCalls } = claim;
  const { tools, models, telemetry } = equipment;
  const client = equipment.client.onBehalfOf(...actorsOf(run));
  const { activity, replay, journal, waits, inbox } = course;
  const { signal } = lease;
  const shared = { run, commands, ledger, journal, activity, waits, outputs, signal };
  const steps = createSteps({ ...shared, emitter });
  const toolCalls = createToolCalls({ ...shared, unknownToolCalls, registry: tools, client, telemetry, log });
  const children = createChildren({ ...shared, runs: client.runs });
  const context: HandlerContext = {
    currentRun: run,
    attempt: run.attempt,
    signal,
    client,
    tools,
    unknownToolCalls,
    log: withReplay(log, () => !replay.isDone()),
    step: steps.step,
    tool: toolCalls.tool,
    approve: createApprovals({ ...shared, approvals: equipment.client.approvals, leaseToken }),
    reconcile: (key, outcome) => mayBeLeftAlone(toolCalls.reconcile(key, outcome)),
    model: createModelRequests({ ...shared, client: models, steps, telemetry }),
    sleep: createSleeps({ ...shared, serverNowMs: serverClock(claim), longestHeldMs: equipment.longestHeldSleepMs }),
    run: children.run,
    runAll: (all) => mayBeLeftAlone(children.runAll(all)),
    waitForMessage: createMessages({ ...shared, inbox, events: client.events }),
    artifact: createArtifacts({ run, store, commands, steps }),
    emit(delta) {
      if (replay.isDone()) emitter.emit(delta, "output");
    },
    now: () => new Date(course.now()),
    random: createChance(run.runId),
  };
  return {
    context,
    async settle() {
      await Promise.all([toolCalls.ended(), emitter.lastWords()]);
    },
  };
}

function withReplay(log: WorkerLog, isReplaying: () => boolean): WorkerLog {
  const marked = withFields(log, { replay: true });
  const now = () => (isReplaying() ? marked : log);
  return {
    debug: (fields, message) => now().debug(fields, message),
    info: (fields, message) => now().info(fields, message),
    warn: (fields, message) => now().warn(fields, message),
    error: (fields, message) => now().error(fields, message),
  };
}
