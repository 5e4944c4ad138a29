import { Code } from "@connectrpc/connect";
import { afterAll, describe, expect, test } from "vitest";
import { PrincipalType, Zone } from "../../gen/signalbox/v1/common_pb.ts";
import { RunStatus } from "../../gen/signalbox/v1/run_pb.ts";
import { createSignalboxClient, jsonValue } from "../../src/client/client.ts";
import { builtInHandlers, createWorker } from "../../src/engine/worker.ts";
import { openInstallation } from "../support/installation.ts";
import { methods, pathOf } from "./contract.ts";
import { askByCall, decision } from "./people.ts";
import { type ErrorBody, infoOf, postJson, postStream } from "./plain-http.ts";
import { reasonFor, refusal } from "./refusal.ts";

const token = "correct-horse-battery-staple";
const installation = await openInstallation({ auth: { mode: "static_token", token } });
afterAll(() => installation[Symbol.asyncDispose]());
const { url } = installation;

/** What needs no credential. */
const openMethods = ["ArtifactService/AnswerAccessChallenge", "ArtifactService/CreateAccessChallenge"];

describe.each([
  ["without a token", {}],
  ["with a wrong token", { authorization: "Bearer wrong" }],
  ["with the token in another scheme", { authorization: `Basic ${token}` }],
])("%s", (_name, headers: Record<string, string>) => {
  // A stream both ways takes HTTP/2, which the plain calls here do not speak.
  const single = methods.filter(({ methodKind }) => methodKind !== "bidi_streaming");
  // Whoever calls those proves who they are by a signature; a token that they send all the same has to be right.
  const open = headers["authorization"] === undefined ? openMethods : [];
  const closed = single.filter((method) => !open.includes(pathOf(method)));

  test.each(closed.map((method) => [pathOf(method), method.methodKind] as const))(
    "%s is refused before its body is looked at",
    async (path, kind) => {
      const error =
        kind === "unary"
          ? (await postJson<{ code: string }>(url, path, { nonsense: 1 }, headers)).body
          : endOf(await postStream(url, path, "json", Buffer.from('{"nonsense":1}'), headers));
      expect(error).toMatchObject({ code: "unauthenticated" });
      expect(JSON.stringify(error)).not.toContain(token);
    },
  );

  test.each(open)("%s is answered", async (path) => {
    const { status, body } = await postJson<ErrorBody>(url, path, {}, headers);
    expect({ status, reason: infoOf(body)?.["reason"] }).toEqual({ status: 400, reason: "INVALID_REQUEST" });
  });

  test("a Work stream is refused before anything is read of it", async () => {
    using client = createSignalboxClient({ baseUrl: url, headers });
    const answers = Array.fromAsync(client.engine.work((async function* () {})()));
    expect(await refusal(answers)).toMatchObject({ code: Code.Unauthenticated, reason: "UNAUTHENTICATED" });
  });
});

function endOf(envelopes: { readonly message: Uint8Array }[]): unknown {
  const end = JSON.parse(Buffer.from(envelopes.at(-1)?.message ?? []).toString()) as { error?: unknown };
  return end.error;
}

test("with the token a client and a worker do all that they do without authentication", async () => {
  await using _worker = installation.worker({ token });
  const client = installation.client({ token });
  const { run } = await client.runs.createRun({ handler: "echo", input: jsonValue("hello") });
  const ended = await client.runs.waitRun({ runId: run?.runId ?? "" });
  expect(ended.run).toMatchObject({ status: RunStatus.SUCCEEDED, createBy: { id: "static_token" } });
});

test("behind the token, whom a call names is who decides", async () => {
  const client = installation.client({ token });
  const [alice, bob] = [client.onBehalfOf("user:alice"), client.onBehalfOf("user:bob")];
  const { approval } = await askByCall(alice, {}, { zone: Zone.HIGH_STAKES });
  expect(await reasonFor(alice.approvals.decideApproval(decision(approval)))).toBe("SELF_APPROVAL");
  const decided = await bob.approvals.decideApproval(decision(approval));
  expect(decided.approval?.decisions).toMatchObject([{ decideBy: { type: PrincipalType.USER, id: "bob" } }]);
  const filter = { stream: { type: "approval", id: approval.approvalId }, types: ["approval.decided"] };
  const { events } = await client.events.listEvents({ filter, minPosition: decided.position });
  expect(events.map(({ actor }) => actor)).toMatchObject([
    { type: PrincipalType.SERVICE, id: "static_token", onBehalfOf: [{ type: PrincipalType.USER, id: "bob" }] },
  ]);
});

test("a worker without the token ends with the reason", async () => {
  await using worker = createWorker({ baseUrl: url, handlers: builtInHandlers });
  expect(await refusal(worker.run())).toMatchObject({ code: Code.Unauthenticated, reason: "UNAUTHENTICATED" });
});

test("health answers everyone, figures only who has the token", async () => {
  expect((await fetch(`${url}/healthz`)).status).toBe(200);
  expect((await fetch(`${url}/metrics`)).status).toBe(401);
  const figures = await fetch(`${url}/metrics`, { headers: { authorization: `Bearer ${token}` } });
  expect(await figures.text()).toContain("signalbox_log_head_position");
});
