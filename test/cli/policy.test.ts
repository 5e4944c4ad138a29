import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import { describe, expect, test } from "vitest";
import { PrincipalType, Zone } from "../../gen/signalbox/v1/common_pb.ts";
import { Decision, KillSwitchScope, type Policy, Risk } from "../../gen/signalbox/v1/policy_pb.ts";
import type { EvaluateRequest } from "../../gen/signalbox/v1/policy_service_pb.ts";
import { RunStatus, ToolCallStatus, ToolEffect } from "../../gen/signalbox/v1/run_pb.ts";
import { exitCodes } from "../../src/cli/cli-error.ts";
import { SignalboxError } from "../../src/kernel/errors.ts";
import { temporaryFolder } from "../stack/folder.ts";
import { type FakeServices, openFakeServer } from "./fake-server.ts";
import { spawnSignalbox } from "./signalbox.ts";

const time = timestampFromDate(new Date(Date.UTC(2026, 10, 21, 8)));
const alice = { type: PrincipalType.USER, id: "alice" };
const present = {
  version: 3n,
  policyHash: "c0ffee",
  cedar: "permit(principal, action, resource);",
  roles: [{ name: "finance", members: ["user:alice", "user:bob"] }],
  approval: { requiredCount: 2, deciders: ["role:finance"], ttl: { seconds: 3_600n } },
  actions: [{ type: "mail.*", effect: ToolEffect.EXTERNAL_WRITE, risk: Risk.HIGH }],
  etag: "3",
  note: "old",
  updateTime: time,
  updateBy: alice,
};

/** A policy service that has one policy; what was put, in order. */
function policies() {
  const puts: Policy[] = [];
  const policy: FakeServices["policy"] = {
    getPolicy: () => ({ policy: present }),
    putPolicy(request) {
      if (request.policy?.cedar.includes("nonsense")) throw new SignalboxError("INVALID_REQUEST", "line 1: nonsense");
      if (request.policy !== undefined && !request.validateOnly) puts.push(request.policy);
      return { policy: { ...present, version: 4n } };
    },
    listPolicyVersions: () => ({ policies: [present] }),
  };
  return { policy, puts };
}

describe("policy", () => {
  test("show tells terms, roles, registered actions and rules", async () => {
    await using server = await openFakeServer(policies());
    expect(await server.text("policy", "show")).toMatch(
      /version +3\n[^]*approvals +2 of role:finance, within 1 h\nrole:finance +user:alice, user:bob\n[^]*mail\.\* +EXTERNAL_WRITE +no +HIGH\n\npermit\(/,
    );
    expect(await server.text("policy", "versions")).toMatch(/^3 +c0ffee +2026-11-21 08:00:00Z +alice +old$/m);
  });

  test("put of rules in Cedar leaves the rest as it is, and the version before guards it", async () => {
    await using folder = await temporaryFolder();
    const file = join(folder.path, "rules.cedar");
    await writeFile(file, "forbid(principal, action, resource);\n");
    const { policy, puts } = policies();
    await using server = await openFakeServer({ policy });
    await server.json("policy", "put", file, "--note", "frozen");
    await server.json("policy", "put", file, "--check");
    expect(puts).toMatchObject([
      { cedar: "forbid(principal, action, resource);\n", roles: present.roles, etag: "3", note: "frozen" },
    ]);
  });

  test("put takes back what show --json prints", async () => {
    const { policy, puts } = policies();
    await using server = await openFakeServer({ policy });
    const shown = await server.text("policy", "show", "--json");
    const env = { SIGNALBOX_URL: server.url };
    const { code } = await spawnSignalbox(["policy", "put", "-"], env, shown);
    expect(code).toBe(exitCodes.ok);
    expect(puts).toMatchObject([present]);
  });

  test.each([
    ["no policy", '{"cedar": 1}', /<file> is no policy: [^]*hint: `signalbox policy show --json`/, exitCodes.usage],
    ["rules that do not parse", "nonsense", /line 1: nonsense \(INVALID_REQUEST\)/, exitCodes.failed],
  ])("put of %s says what is wrong", async (_what, text, message, code) => {
    await using folder = await temporaryFolder();
    const file = join(folder.path, "policy");
    await writeFile(file, text);
    await using server = await openFakeServer(policies());
    const outcome = await server.run("policy", "put", file);
    expect(outcome.stderr).toMatch(message);
    expect(outcome.code).toBe(code);
  });

  test("eval sends the action with its circumstances, and tells the decision", async () => {
    const requests: EvaluateRequest[] = [];
    await using server = await openFakeServer({
      policy: {
        evaluate(request) {
          requests.push(request);
          const terms = { requiredCount: 1 };
          return { decision: { decision: Decision.REQUIRE_APPROVAL, matchedRule: "night", risk: Risk.HIGH, terms } };
        },
      },
    });
    const options = ["--effect", "external_write", "--target", "mailto:a@example.com", "--zone", "high_stakes"];
    const more = ["--payload", '{"n":1}', "--principal", "agent:agt_1", "--label", "team=lab", "--policy-version", "2"];
    expect(await server.text("policy", "eval", "mail.send", ...options, ...more)).toMatch(
      /^decision +REQUIRE_APPROVAL\nrule +night\nrisk +HIGH\napprovals +1\n/,
    );
    expect(requests).toMatchObject([
      {
        policyVersion: 2n,
        context: {
          action: { type: "mail.send", target: "mailto:a@example.com", effect: ToolEffect.EXTERNAL_WRITE },
          principal: { type: PrincipalType.AGENT, id: "agt_1" },
          zone: Zone.HIGH_STAKES,
          labels: { team: "lab" },
        },
      },
    ]);
  });

  test("simulate goes through every page and lists what would be otherwise", async () => {
    const after: bigint[] = [];
    const flip = {
      runId: "run_1",
      position: 5n,
      recorded: { decision: Decision.ALLOW, action: { type: "mail.send" } },
      simulated: { decision: Decision.DENY, matchedRule: "night" },
    };
    await using server = await openFakeServer({
      policy: {
        simulatePolicy({ afterPosition }) {
          after.push(afterPosition);
          if (afterPosition === 0n) return { flips: [flip], evaluated: 10n, flipped: 1n, nextPosition: 7n };
          return { evaluated: 2n, nextPosition: 9n, complete: true };
        },
      },
    });
    const { stdout, stderr } = await server.run("policy", "simulate");
    expect(stdout).toMatch(/^5 +run_1 +mail\.send +ALLOW +DENY +night$/m);
    expect(stderr).toContain("12 decisions made again, 1 would be another one");
    expect(after).toEqual([0n, 7n]);
  });
});

describe("kill-switch", () => {
  const workspace = {
    scope: KillSwitchScope.WORKSPACE,
    on: true,
    reason: "wrong prices",
    flipTime: time,
    flipBy: alice,
    position: 9n,
  };

  test("on and off flip the switch of the workspace, or of the installation", async () => {
    const flips: unknown[] = [];
    await using server = await openFakeServer({
      policy: {
        setKillSwitch({ scope, on, reason }) {
          flips.push({ scope, on, reason });
          return { killSwitch: { ...workspace, on } };
        },
      },
    });
    expect(await server.text("kill-switch", "on", "--reason", "wrong prices")).toBe(
      "workspace     on since 2026-11-21 08:00:00Z by alice, position 9: wrong prices\n",
    );
    await server.json("kill-switch", "off", "--installation");
    expect(flips).toEqual([
      { scope: KillSwitchScope.WORKSPACE, on: true, reason: "wrong prices" },
      { scope: KillSwitchScope.INSTALLATION, on: false, reason: "" },
    ]);
  });

  test("status tells run by run what was stopped, from every page", async () => {
    const write = (runId: string, position: bigint, underWay: boolean) => ({
      runId,
      toolCallId: `tc_${position}`,
      tool: "mail.send",
      underWay,
      status: underWay ? ToolCallStatus.SUCCEEDED : ToolCallStatus.GATED,
      runStatus: RunStatus.PAUSED,
      position,
    });
    await using server = await openFakeServer({
      policy: {
        getKillSwitch({ pageToken }) {
          const rest = { workspace, externalWritesStopped: true, stoppedCount: 3n };
          if (pageToken !== "") return { ...rest, stopped: [write("run_a", 12n, false)] };
          return { ...rest, stopped: [write("run_a", 8n, true), write("run_b", 10n, false)], nextPageToken: "next" };
        },
      },
    });
    const told = (await server.text("kill-switch", "status")).split("\n");
    expect(told[0]).toBe("external writes are stopped");
    expect(told[3]).toBe("3 external writes were met:");
    expect(told.slice(5, 8).map((line) => line.split(/ {2,}/).slice(0, 6))).toEqual([
      ["run_a", "PAUSED", "tc_8", "mail.send", "under way", "SUCCEEDED"],
      ["run_a", "PAUSED", "tc_12", "mail.send", "stopped", "GATED"],
      ["run_b", "PAUSED", "tc_10", "mail.send", "stopped", "GATED"],
    ]);
    const all = await server.json<{ stopped: unknown[] }>("kill-switch", "status");
    expect(all.stopped).toHaveLength(3);
  });
});
