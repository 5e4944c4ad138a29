import { createFileRegistry, fromBinary, type MessageInitShape } from "@bufbuild/protobuf";
import { type FileDescriptorProto, FileDescriptorProtoSchema, FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError, createClient } from "@connectrpc/connect";
import { createConnectTransport, createGrpcTransport } from "@connectrpc/connect-node";
import { describe, expect, test } from "vitest";
import * as v1 from "../../gen/grpc/reflection/v1/reflection_pb.ts";
import * as v1alpha from "../../gen/grpc/reflection/v1alpha/reflection_pb.ts";
import { file_signalbox_v1_run_service } from "../../gen/signalbox/v1/run_service_pb.ts";
import type { Server } from "../../src/server/server.ts";
import { openTestServer } from "./fixture.ts";

type Question = NonNullable<MessageInitShape<typeof v1.ServerReflectionRequestSchema>["messageRequest"]>;

const versions = {
  v1: (server: Server, questions: Question[]) =>
    createClient(v1.ServerReflection, createGrpcTransport({ baseUrl: server.url })).serverReflectionInfo(
      requests(questions),
    ),
  v1alpha: (server: Server, questions: Question[]) =>
    createClient(
      v1alpha.ServerReflection,
      createConnectTransport({ baseUrl: server.url, httpVersion: "2" }),
    ).serverReflectionInfo(requests(questions)),
};

async function* requests(questions: Question[]) {
  for (const messageRequest of questions) {
    // The versions differ in the names of their messages only.
    yield { host: "here", messageRequest: messageRequest as never };
  }
}

/** The file and all that it imports, in the order in which a registry wants them. */
function importsFirst(root: FileDescriptorProto, files: FileDescriptorProto[]): FileDescriptorProto[] {
  const imports = root.dependency.flatMap((imported) =>
    files.filter(({ name }) => name === imported).flatMap((file) => importsFirst(file, files)),
  );
  return [...new Set([...imports, root])];
}

describe.each(["v1", "v1alpha"] as const)("reflection %s", (version) => {
  async function ask(server: Server, ...questions: Question[]) {
    const answers = [];
    for await (const answer of versions[version](server, questions)) answers.push(answer);
    return answers;
  }

  async function filesOf(server: Server, question: Question): Promise<string[]> {
    const [answer] = await ask(server, question);
    if (answer?.messageResponse.case !== "fileDescriptorResponse") throw new Error("no files");
    return answer.messageResponse.value.fileDescriptorProto.map(
      (bytes) => fromBinary(FileDescriptorProtoSchema, bytes).name,
    );
  }

  test("lists the services, itself included", async () => {
    await using server = await openTestServer();
    const [answer] = await ask(server, { case: "listServices", value: "*" });
    expect(answer).toMatchObject({
      validHost: "here",
      originalRequest: { host: "here", messageRequest: { case: "listServices" } },
      messageResponse: {
        case: "listServicesResponse",
        value: {
          service: [
            "grpc.health.v1.Health",
            "grpc.reflection.v1.ServerReflection",
            "grpc.reflection.v1alpha.ServerReflection",
            "signalbox.v1.EventService",
            "signalbox.v1.RunService",
          ].map((name) => ({ name })),
        },
      },
    });
  });

  test("sends a file first, then all that it imports, so that a client can build the service", async () => {
    await using server = await openTestServer();
    const [answer] = await ask(server, { case: "fileContainingSymbol", value: "signalbox.v1.RunService" });
    if (answer?.messageResponse.case !== "fileDescriptorResponse") throw new Error("no files");
    const files = answer.messageResponse.value.fileDescriptorProto.map((bytes) =>
      fromBinary(FileDescriptorProtoSchema, bytes),
    );
    const [first] = files;
    if (first?.name !== "signalbox/v1/run_service.proto") throw new Error("another file is first");
    expect(files.map(({ name }) => name)).toEqual(
      expect.arrayContaining([
        "buf/validate/validate.proto",
        "google/protobuf/descriptor.proto",
        "google/protobuf/struct.proto",
        "signalbox/v1/run.proto",
      ]),
    );
    const file = importsFirst(first, files);
    const registry = createFileRegistry({ $typeName: FileDescriptorSetSchema.typeName, file });
    const ours = file_signalbox_v1_run_service.services[0];
    expect(registry.getService("signalbox.v1.RunService")?.methods.map(({ name }) => name)).toEqual(
      ours?.methods.map(({ name }) => name),
    );
  });

  test.each([
    "signalbox.v1.RunService.CreateRun",
    "signalbox.v1.CreateRunRequest",
    "signalbox.v1.CreateRunRequest.handler",
  ])("finds the file of %s", async (value) => {
    await using server = await openTestServer();
    expect((await filesOf(server, { case: "fileContainingSymbol", value }))[0]).toBe("signalbox/v1/run_service.proto");
  });

  test.each([
    ["signalbox.v1.SubscribeResponse.frame", "signalbox/v1/event_service.proto"],
    ["signalbox.v1.RUN_STATUS_QUEUED", "signalbox/v1/run.proto"],
    ["google.protobuf.FieldDescriptorProto.TYPE_INT32", "google/protobuf/descriptor.proto"],
    ["buf.validate.field", "buf/validate/validate.proto"],
  ])("finds %s in %s", async (value, file) => {
    await using server = await openTestServer();
    expect((await filesOf(server, { case: "fileContainingSymbol", value }))[0]).toBe(file);
  });

  test("finds files by name and by extension", async () => {
    await using server = await openTestServer();
    const byName = await filesOf(server, { case: "fileByFilename", value: "google/protobuf/timestamp.proto" });
    expect(byName).toEqual(["google/protobuf/timestamp.proto"]);
    const extension = { containingType: "google.protobuf.FieldOptions", extensionNumber: 1159 };
    const byExtension = await filesOf(server, { case: "fileContainingExtension", value: extension });
    expect(byExtension[0]).toBe("buf/validate/validate.proto");
  });

  test("knows the extensions of a message", async () => {
    await using server = await openTestServer();
    const answers = await ask(
      server,
      { case: "allExtensionNumbersOfType", value: "google.protobuf.FieldOptions" },
      { case: "allExtensionNumbersOfType", value: "signalbox.v1.Run" },
    );
    expect(answers.map(({ messageResponse }) => messageResponse)).toMatchObject([
      { case: "allExtensionNumbersResponse", value: { extensionNumber: [1159, 1160] } },
      { case: "allExtensionNumbersResponse", value: { baseTypeName: "signalbox.v1.Run", extensionNumber: [] } },
    ]);
  });

  test("says what it does not know and goes on", async () => {
    await using server = await openTestServer();
    const answers = await ask(
      server,
      { case: "fileByFilename", value: "nope.proto" },
      { case: "fileContainingSymbol", value: "no.such.Symbol" },
      { case: "fileContainingExtension", value: { containingType: "no.Type", extensionNumber: 1 } },
      { case: "allExtensionNumbersOfType", value: "no.Type" },
      { case: undefined },
      { case: "listServices", value: "" },
    );
    expect(
      answers.map(({ messageResponse: { case: kind, value } }) =>
        kind === "errorResponse" ? [value.errorCode, value.errorMessage] : kind,
      ),
    ).toEqual([
      [Code.NotFound, "unknown file nope.proto"],
      [Code.NotFound, "unknown symbol no.such.Symbol"],
      [Code.NotFound, "unknown extension 1 of no.Type"],
      [Code.NotFound, "unknown message no.Type"],
      [Code.InvalidArgument, "the request asks nothing: set one field of message_request"],
      "listServicesResponse",
    ]);
  });

  test("is not there when it is switched off, nor without the token", async () => {
    await using off = await openTestServer({ reflection: false });
    const missing = ConnectError.from(
      await ask(off, { case: "listServices", value: "" }).catch((reason: unknown) => reason),
    );
    expect(missing.code).toBe(Code.Unimplemented);
    await using locked = await openTestServer({ auth: { mode: "static_token", token: "secret" } });
    const refused = ConnectError.from(
      await ask(locked, { case: "listServices", value: "" }).catch((reason: unknown) => reason),
    );
    expect(refused.code).toBe(Code.Unauthenticated);
  });
});
