import { durationFromMs } from "@bufbuild/protobuf/wkt";
import type { CallOptions } from "@connectrpc/connect";
import { type Approval, ApprovalStatus } from "../../gen/signalbox/v1/approval_pb.ts";
import { ToolEffect } from "../../gen/signalbox/v1/run_pb.ts";
import type { SignalboxClient } from "../client/clients.ts";
import type { JsonValue } from "../client/json.ts";
import type { Activity } from "./activity.ts";
import type { Command } from "./command.ts";
import type { Commands } from "./commands.ts";
import { endOf, type Entry } from "./entry.ts";
import type { ApprovalRequest, ApprovalTermsOptions, HandlerContext } from "./handler.ts";
import { HandlerError, runErrorOf } from "./handler-error.ts";
import type { Journal } from "./journal.ts";
import type { Ending, Ledger } from "./ledger.ts";
import type { StepOutputs } from "./step-outputs.ts";
import { resultOf } from "./steps.ts";
import { optionalValue } from "./values.ts";
import type { Waits } from "./waits.ts";

/** What questions to people need. */
export interface ApprovalsOptions {
  readonly approvals: SignalboxClient["approvals"];
  readonly leaseToken: string;
  readonly commands: Commands;
  readonly ledger: Ledger;
  readonly journal: Journal;
  readonly activity: Activity;
  readonly waits: Waits;
  readonly outputs: StepOutputs;
}

const undecided: ReadonlySet<ApprovalStatus> = new Set([ApprovalStatus.PENDING, ApprovalStatus.HELD]);

/** Asks people for leave, each question once per run. */
export function createApprovals(options: ApprovalsOptions): HandlerContext["approve"] {
  const { approvals, leaseToken, commands, ledger, journal, activity, waits, outputs } = options;

  function admitted(question: (call: CallOptions) => Promise<Answer>): Promise<Approval> {
    return journal.ask(async () => present((await ledger.ask(question)).approval));
  }

  /** The approval, used; undefined when it can not be any more, or not yet again, and the server is to be asked. */
  async function use({ approvalId }: Approval): Promise<Approval | undefined> {
    try {
      return await admitted((call) => approvals.consumeApproval({ leaseToken, approvalId }, call));
    } catch (error) {
      if (error instanceof HandlerError && askedAnew.has(error.code)) return undefined;
      throw error;
    }
  }

  /** The approval once it is decided and used. Throws a HandlerError when nobody allows it. */
  async function allowed({ sequence }: Command, stepId: string, request: RequestInit): Promise<Approval> {
    const asked = { leaseToken, stepId, ...request };
    let useless = "";
    for (;;) {
      const approval = await admitted((call) => approvals.requestApproval(asked, call));
      if (undecided.has(approval.status)) {
        useless = "";
        await waits.until(sequence, { approvalId: approval.approvalId });
        continue;
      }
      const used = await use(approval);
      if (used !== undefined) return used;
      // The server asks people anew by itself; if it did not, this would go round for ever.
      if (approval.approvalId === useless) throw new HandlerError("BAD_ANSWER", "the server asks nobody anew");
      useless = approval.approvalId;
    }
  }

  async function ending(command: Command, { id }: Entry, request: RequestInit): Promise<Ending> {
    try {
      return { ok: true, output: (await allowed(command, id, request)).payload };
    } catch (error) {
      if (!(error instanceof HandlerError)) throw error;
      return { ok: false, error: runErrorOf(error) };
    }
  }

  return (approval) =>
    commands.perform<JsonValue | undefined>({
      kind: "approval",
      name: approval.name ?? approval.action,
      async live(command) {
        const request = requestOf(approval, command);
        const started = await journal.start(() => ledger.startStep(command, {}));
        if (started.end !== undefined) return resultOf(started.end);
        const ended = await ending(command, started, request);
        const kept = await activity.during(() => outputs.keep(started, ended));
        return resultOf(endOf(await journal.end(() => ledger.end(started, kept))));
      },
      replayed: resultOf,
    });
}

/** It was approved when the server was asked, and void or edited when it was to be used. */
const askedAnew: ReadonlySet<string> = new Set(["INVALID_STATE", "APPROVAL_REQUIRED"]);

/** What both calls answer. */
interface Answer {
  readonly approval?: Approval | undefined;
}

type RequestInit = ReturnType<typeof requestOf>;

function requestOf(approval: ApprovalRequest, { key }: Command) {
  const { action, target = "", effect = ToolEffect.EXTERNAL_WRITE, reversible = false, message = "", terms } = approval;
  const payload = optionalValue(approval.payload, `the payload of approval ${key}`, "INPUT_NOT_SERIALIZABLE");
  return { action: { type: action, target, effect, reversible }, payload, message, terms: termsOf(terms) };
}

function termsOf(terms: ApprovalTermsOptions | undefined) {
  if (terms === undefined) return undefined;
  const { requiredCount, deciders = [], ttlMs, escalateAfterMs, escalateTo = [] } = terms;
  return {
    requiredCount,
    deciders: [...deciders],
    ttl: ttlMs === undefined ? undefined : durationFromMs(ttlMs),
    escalateAfter: escalateAfterMs === undefined ? undefined : durationFromMs(escalateAfterMs),
    escalateTo: [...escalateTo],
  };
}

function present(approval: Approval | undefined): Approval {
  if (approval === undefined) throw new HandlerError("BAD_ANSWER", "the server's answer has no approval");
  return approval;
}
