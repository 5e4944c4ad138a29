import { fileURLToPath } from "node:url";
import {
  type Client,
  type ClientReadableStream,
  credentials,
  loadPackageDefinition,
  Metadata,
  type ServiceClientConstructor,
  type ServiceError,
  status,
} from "@grpc/grpc-js";
import { loadSync } from "@grpc/proto-loader";
import { afterAll, expect, test } from "vitest";
import { openInstallation } from "../support/installation.ts";
import { askByCall, mailOf } from "./people.ts";

const installation = await openInstallation({ workers: 1 });
afterAll(() => installation[Symbol.asyncDispose]());

type Unary<T> = (request: object, metadata: Metadata, done: (error: ServiceError | null, answer: T) => void) => void;

interface Run {
  readonly runId: string;
  readonly status: string;
  readonly output?: object;
}
interface Frame {
  readonly frame: string;
  readonly event?: { readonly type: string };
}
interface RunClient extends Client {
  createRun: Unary<{ run: Run }>;
  getRun: Unary<{ run: Run }>;
  waitRun: Unary<{ run: Run }>;
}
interface ApprovalClient extends Client {
  getApproval: Unary<{ approval: Approval }>;
  decideApproval: Unary<{ approval: Approval }>;
}
interface Approval {
  readonly approvalId: string;
  readonly status: string;
  readonly payload: object;
  readonly payloadDigest: string;
}
interface EventClient extends Client {
  subscribe(request: object, metadata: Metadata): ClientReadableStream<Frame>;
}

/** Clients of another implementation of gRPC and of protobuf, from the same proto files. */
function openClients() {
  const files = ["run", "event", "approval"].map((name) => `signalbox/v1/${name}_service.proto`);
  const includeDirs = [fileURLToPath(new URL("../../proto", import.meta.url))];
  const loaded = loadPackageDefinition(loadSync(files, { includeDirs, enums: String, longs: String, oneofs: true }));
  const { RunService, EventService, ApprovalService } = (loaded as unknown as Package).signalbox.v1;
  const address = new URL(installation.url).host;
  const runs = new RunService(address, credentials.createInsecure()) as unknown as RunClient;
  const events = new EventService(address, credentials.createInsecure()) as unknown as EventClient;
  const approvals = new ApprovalService(address, credentials.createInsecure()) as unknown as ApprovalClient;
  return {
    runs,
    events,
    approvals,
    [Symbol.dispose]() {
      for (const client of [runs, events, approvals]) client.close();
    },
  };
}

interface Package {
  readonly signalbox: {
    readonly v1: Record<"RunService" | "EventService" | "ApprovalService", ServiceClientConstructor>;
  };
}

function call<T>(client: Client, method: Unary<T>, request: object): Promise<T> {
  const { promise, resolve, reject } = Promise.withResolvers<T>();
  method.call(client, request, new Metadata(), (error, answer) => (error ? reject(error) : resolve(answer)));
  return promise;
}

const hello = { structValue: { fields: { hello: { kind: "stringValue", stringValue: "world" } } } };

test("@grpc/grpc-js creates a run, follows its events to the end, and reads its output", async () => {
  using clients = openClients();
  const { run } = await call(clients.runs, clients.runs.createRun, { handler: "echo", input: hello });
  const { runId } = run;
  const frames: Frame[] = [];
  const stream = clients.events.subscribe({ filter: { runId } }, new Metadata());
  for await (const frame of stream) frames.push(frame as Frame);
  expect(frames[0]).toMatchObject({ frame: "ready" });
  expect(frames.flatMap(({ event }) => event?.type ?? [])).toEqual(["run.created", "run.claimed", "run.succeeded"]);
  const waited = await call(clients.runs, clients.runs.waitRun, { runId });
  expect(waited.run).toMatchObject({ runId, status: "RUN_STATUS_SUCCEEDED", output: hello });
});

test("@grpc/grpc-js approves what a run asks, by the digest of what it was shown", async () => {
  using clients = openClients();
  const client = installation.client();
  const { claimed, approval: asked } = await askByCall(client);
  const { approvalId } = asked;
  const { getApproval, decideApproval } = clients.approvals;
  const { approval } = await call(clients.approvals, getApproval, { approvalId });
  const text = { kind: "stringValue", stringValue: "hello" };
  expect(approval).toMatchObject({
    payload: { structValue: { fields: { text } } },
    payloadDigest: asked.payloadDigest,
  });
  const verdict = "APPROVAL_VERDICT_APPROVE";
  const said = { approvalId, verdict, payloadDigest: approval.payloadDigest };
  const decided = await call(clients.approvals, decideApproval, said);
  expect(decided.approval).toMatchObject({ status: "APPROVAL_STATUS_APPROVED" });
  const { leaseToken } = claimed;
  const { toolCall } = await client.engine.startToolCall({ leaseToken, ...mailOf("hello") });
  expect(toolCall).toMatchObject({ approvalId, arguments: asked.payload });
});

test("@grpc/grpc-js is told why a call was refused", async () => {
  using clients = openClients();
  const refused = call(clients.runs, clients.runs.getRun, { runId: "run_01ARZ3NDEKTSV4RRFFQ69G5FAV" });
  const error = await refused.then(
    () => undefined,
    (thrown: unknown) => thrown as ServiceError,
  );
  expect(error).toMatchObject({ code: status.NOT_FOUND, details: expect.stringContaining("does not exist") as string });
  // google.rpc.Status, binary: the ErrorInfo inside names the reason.
  const [details] = error?.metadata.get("grpc-status-details-bin") ?? [];
  expect(details?.toString()).toContain("RUN_NOT_FOUND");
});
