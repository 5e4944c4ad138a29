import { inspect } from "node:util";
import * as fc from "fast-check";
import { expect, test } from "vitest";
import { Code, ConnectError } from "@connectrpc/connect";
import { type Approval, ApprovalStatus, StepStatus, ToolCallStatus, valueToJson } from "../../src/client/client.ts";
import { createWorker, defineTool, type Handler, ToolEffect } from "../../src/engine/worker.ts";
import { inVirtualTime } from "../support/virtual-time.ts";
import { type FakeCall, type FakeEngine, fakeEngine, type FakeRun } from "./fake-engine.ts";
import { anyProgram, countMessages, payTool, type Program, runProgram, type World } from "./programs.ts";

const runs = Number(process.env["SIGNALBOX_PROGRAMS"] ?? 100);

/** What became of a program. */
interface Story {
  readonly status: string;
  readonly output: unknown;
  readonly error: unknown;
  /** How often the code of each step ran. */
  readonly executions: ReadonlyMap<string, number>;
  readonly payments: ReadonlyMap<string, number>;
  /** What was wrong at the time. */
  readonly problems: readonly string[];
  readonly crashes: number;
}

/** A worker dies at the n-th write, from the last death on; before or after that is on record. */
interface Crash {
  readonly afterWrites: number;
  readonly when: "before" | "after";
}

const anyCrashes = fc.array(
  fc.record({
    afterWrites: fc.integer({ min: 1, max: 12 }),
    when: fc.constantFrom("before" as const, "after" as const),
  }),
  { maxLength: 12 },
);

const reads: ReadonlySet<string> = new Set([
  "claimRun",
  "heartbeat",
  "reportWorker",
  "publishDeltas",
  "getRun",
  "getArtifact",
  "downloadArtifact",
  "listEvents",
]);

test("any crash schedule gives the result of the undisturbed run, and no step runs again once it is on record", async () => {
  await fc.assert(
    fc.asyncProperty(anyProgram, anyCrashes, async (program, crashes) => {
      const undisturbed = await tell(program, []);
      const disturbed = await tell(program, crashes);
      expect(undisturbed).toMatchObject({ status: "SUCCEEDED", problems: [] });
      expect(disturbed).toMatchObject({ status: "SUCCEEDED", error: undefined, problems: [] });
      expect(disturbed.output).toEqual(undisturbed.output);
      expect(amounts(disturbed)).toEqual(amounts(undisturbed));
    }),
    { numRuns: runs },
  );
}, 300_000);

function tell(program: Program, crashes: readonly Crash[]): Promise<Story> {
  return inVirtualTime(
    async (nowMs) => {
      const engine = fakeEngine(30_000, nowMs);
      const own = engine.submit({ handler: "main", retryPolicy: { maxAttempts: 1_000 } });
      const deaths = strike(engine, crashes);
      engine.gate.judge = ({ effect }) => (effect === ToolEffect.EXTERNAL_WRITE ? "ask" : "allow");
      engine.gate.onAsk = (approval) =>
        void setTimeout(() => decide(engine, approval), 300 + (own.run.attempt % 3) * 400);
      const executions = new Map<string, number>();
      const problems: string[] = [];
      const world: World = {
        payments: new Map(),
        async pause(ms) {
          const { attempt } = own.run;
          if (ms > 0) await new Promise<void>((resolve) => void setTimeout(resolve, ms));
          if (attempt !== own.run.attempt) throw new Error("died");
        },
        ran(key, attempt) {
          if (attempt !== own.run.attempt) throw new Error("died");
          const times = (executions.get(key) ?? 0) + 1;
          executions.set(key, times);
          if (isRecorded(engine, key)) problems.push(`${key} runs although it is on record`);
          return times;
        },
      };
      const read = defineTool({
        name: "read",
        description: "Reads.",
        effect: ToolEffect.READ,
        input: { type: "object" },
        run: (args) => args,
      });
      const main: Handler = (ctx) => runProgram(ctx, world, program);
      const child: Handler = async (ctx, input) => ctx.step("work", () => ({ input: input ?? null }));
      const worker = createWorker({
        client: engine.client,
        handlers: { main, child },
        tools: [read, payTool(world)],
        concurrency: 8,
      });
      const running = worker.run();
      for (let i = 0; i < countMessages(program); i++) setTimeout(() => engine.say(own, `message ${i}`), 500 * (i + 1));
      const ended = await Promise.race([engine.ended(own), stuck(engine, own)]);
      await worker[Symbol.asyncDispose]();
      await running;
      return { ...ended, executions, payments: world.payments, problems, crashes: deaths() };
    },
    { turns: 12 },
  );
}

function amounts({ payments }: Story): number[] {
  return [...payments.values()].toSorted((a, b) => a - b);
}

/** What people decide hangs on what they are asked, so that it is the same whenever they are. */
function decide({ gate }: FakeEngine, approval: Approval): void {
  const payload = valueToJson(approval.payload) as number | { cents: number };
  const amount = typeof payload === "number" ? payload : payload.cents;
  // The same again when people are asked a second time.
  const better = (amount % 100) + 100;
  const edited = typeof payload === "number" ? better : { cents: better };
  const verdict = (["deny", "expire", "edit", "approve", "approve"] as const)[amount % 5];
  if (verdict === "deny") gate.end(ApprovalStatus.DENIED, approval);
  else if (verdict === "expire") gate.end(ApprovalStatus.EXPIRED, approval);
  else gate.approve(approval, verdict === "edit" ? edited : undefined);
}

/** Rejects when two hours of the test's time have passed, far more than any program takes. */
function stuck({ calls }: FakeEngine, { run, steps, toolCalls }: FakeRun): Promise<never> {
  return new Promise((_resolve, reject) => {
    setTimeout(() => {
      const record = [...steps.values(), ...toolCalls.values()].map(({ key, status, sequence }) => ({
        key,
        status,
        sequence,
      }));
      const last = calls.filter(({ method }) => !reads.has(method)).slice(-5);
      reject(new Error(`stuck: ${inspect({ status: run.status, record, last }, { depth: 4 })}`));
    }, 7_200_000);
  });
}

function isRecorded({ runs: all }: FakeEngine, key: string): boolean {
  return all.some(
    ({ steps, toolCalls }) =>
      steps.get(key)?.status === StepStatus.COMPLETED || toolCalls.get(key)?.status === ToolCallStatus.SUCCEEDED,
  );
}

/** Lets the worker of a run die as scheduled. What it wrote last may be on record; what it writes later is not taken. */
function strike(engine: FakeEngine, crashes: readonly Crash[]): () => number {
  const schedule = [...crashes];
  let left = schedule[0]?.afterWrites ?? 0;
  let deaths = 0;
  const counted = new Set<FakeCall>();
  engine.fault = (call, when) => {
    const [next] = schedule;
    if (next === undefined || reads.has(call.method)) return;
    if (when === "before") {
      left--;
      if (left === 0) counted.add(call);
    }
    if (!counted.has(call) || when !== next.when) return;
    const victim = ownerOf(engine, call);
    schedule.shift();
    counted.delete(call);
    left = schedule[0]?.afterWrites ?? 0;
    if (victim !== undefined) {
      engine.expire(victim);
      deaths++;
    }
    throw new ConnectError("the worker died", Code.Unavailable);
  };
  return () => deaths;
}

function ownerOf({ runs: all }: FakeEngine, { request }: FakeCall): FakeRun | undefined {
  const { spec, ...other } = request as { leaseToken?: string; parentRunId?: string; spec?: { leaseToken: string } };
  const { leaseToken = spec?.leaseToken, parentRunId } = other;
  return all.find((own) => (leaseToken === undefined ? own.run.runId === parentRunId : own.leaseToken === leaseToken));
}
