import { createServer } from "node:http";
import { once } from "node:events";
import { create, toBinary } from "@bufbuild/protobuf";
import { createClient, createContextValues } from "@connectrpc/connect";
import { compressionGzip, connectNodeAdapter, createConnectTransport } from "@connectrpc/connect-node";
import { expect, test } from "vitest";
import {
  ArtifactService,
  DownloadArtifactRequestSchema,
  DownloadArtifactResponseSchema,
} from "../../gen/signalbox/v1/artifact_service_pb.ts";
import { type ArtifactParts, artifactRoutes } from "../../src/artifacts/service.ts";
import { callKey } from "../../src/kernel/call.ts";
import { callIn } from "./world.ts";

/** Bytes that any compression would make fewer. */
const zeros = new Uint8Array(500_000);

/** Serves the ways of bytes, and nothing else. */
async function serve(taken: Uint8Array[]) {
  const parts = {
    uploads: {
      async upload(_call: unknown, _header: unknown, bytes: AsyncIterable<Uint8Array>) {
        for await (const piece of bytes) taken.push(Uint8Array.from(piece));
        return {};
      },
    },
    async *download() {
      yield create(DownloadArtifactResponseSchema, { frame: { case: "data", value: zeros } });
    },
    bundles: {
      async *download() {
        yield { data: zeros };
      },
    },
  } as unknown as ArtifactParts;
  const server = createServer(
    connectNodeAdapter({
      routes: (router) => artifactRoutes(router, parts),
      contextValues: () => createContextValues().set(callKey, callIn()),
    }),
  );
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  const port = typeof address === "object" ? address?.port : undefined;
  return {
    url: `http://127.0.0.1:${port}`,
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

test.each(["DownloadArtifact", "DownloadBundle"])(
  "%s sends bytes as they are, also to who takes gzip",
  async (method) => {
    await using server = await serve([]);
    const message = toBinary(DownloadArtifactRequestSchema, create(DownloadArtifactRequestSchema, { artifactId: "x" }));
    const body = Buffer.concat([Buffer.of(0, 0, 0, 0, message.length), message]);
    const response = await fetch(`${server.url}/${ArtifactService.typeName}/${method}`, {
      method: "POST",
      headers: { "content-type": "application/connect+proto", "connect-accept-encoding": "gzip" },
      body,
    });
    expect(response.status).toBe(200);
    expect((await response.arrayBuffer()).byteLength).toBeGreaterThan(zeros.length);
  },
);

test("frames of an upload that a client has compressed are taken", async () => {
  const taken: Uint8Array[] = [];
  await using server = await serve(taken);
  const transport = createConnectTransport({
    baseUrl: server.url,
    httpVersion: "1.1",
    sendCompression: compressionGzip,
    compressMinBytes: 0,
  });
  async function* frames() {
    yield { frame: { case: "header" as const, value: {} } };
    yield { frame: { case: "data" as const, value: zeros } };
  }
  await createClient(ArtifactService, transport).uploadArtifact(frames());
  expect(Buffer.concat(taken).equals(zeros)).toBe(true);
});
