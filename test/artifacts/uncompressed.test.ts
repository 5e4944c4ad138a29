import { afterAll, beforeAll, expect, test } from "vitest";
import { uploadArtifact } from "../../src/client/client.ts";
import { type Installation, openInstallation } from "../support/installation.ts";

let installation: Installation;
beforeAll(async () => {
  installation = await openInstallation();
});
afterAll(() => installation[Symbol.asyncDispose]());

/** The flags of the messages of a stream of the Connect protocol: a byte of them and four of length stand before each. */
function flagsOf(stream: Buffer): number[] {
  const flags: number[] = [];
  for (let at = 0; at < stream.length; at += 5 + stream.readUInt32BE(at + 1)) flags.push(stream.readUInt8(at));
  return flags;
}

test("a download is not compressed, whatever its client takes", async () => {
  const { artifactId } = await uploadArtifact(installation.client(), new Uint8Array(200_000), { name: "zeros" });
  const message = Buffer.from(JSON.stringify({ artifactId }));
  const prefix = Buffer.alloc(5);
  prefix.writeUInt32BE(message.length, 1);
  const response = await fetch(`${installation.url}/signalbox.v1.ArtifactService/DownloadArtifact`, {
    method: "POST",
    headers: { "content-type": "application/connect+json", "connect-accept-encoding": "gzip, br" },
    body: Buffer.concat([prefix, message]),
  });
  const flags = flagsOf(Buffer.from(await response.arrayBuffer()));
  expect(flags.length).toBeGreaterThan(3);
  // The lowest bit says compressed, the one after it the end of the stream.
  expect(flags.map((flag) => flag & 1)).toEqual(flags.map(() => 0));
});
