import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { describe, expect, it } from "vitest";
import { UploadArtifactRequestSchema, UploadHeaderSchema } from "../../gen/signalbox/v1/artifact_service_pb.ts";
import { uploadFrames } from "../../src/artifacts/upload-frames.ts";
import { gather, specOf } from "./world.ts";

type Frame = MessageInitShape<typeof UploadArtifactRequestSchema>["frame"];

const header: Frame = { case: "header", value: create(UploadHeaderSchema, { requestId: "r1", spec: specOf() }) };
const data = (value: Uint8Array): Frame => ({ case: "data", value });

async function* messages(...frames: Frame[]) {
  for (const frame of frames) yield create(UploadArtifactRequestSchema, { frame });
}

async function bytesOf(...frames: Frame[]): Promise<Buffer> {
  return gather((await uploadFrames(messages(...frames))).bytes);
}

describe("the messages of an upload", () => {
  it("are a header and then bytes", async () => {
    const upload = await uploadFrames(
      messages(header, data(Buffer.from("ab")), data(Buffer.of()), data(Buffer.from("c"))),
    );
    expect(upload.header.requestId).toBe("r1");
    expect(String(await gather(upload.bytes))).toBe("abc");
    expect((await bytesOf(header)).length).toBe(0);
  });

  it.each<[string, Frame[], string]>([
    ["none at all", [], "empty"],
    ["bytes first", [data(Buffer.from("a")), header], "data instead of the header"],
    ["nothing first", [{ case: undefined }], "nothing instead of the header"],
    ["a second header", [header, data(Buffer.from("a")), header], "second header"],
    ["nothing in between", [header, { case: undefined }], "neither header nor data"],
  ])("are refused: %s", async (_, frames, message) => {
    const refusal = { reason: "INVALID_REQUEST", message: expect.stringContaining(message) as string };
    await expect(bytesOf(...frames)).rejects.toMatchObject(refusal);
  });

  it("have 2 MiB of bytes and no more", async () => {
    const most = 2 * 1024 * 1024;
    expect((await bytesOf(header, data(new Uint8Array(most)))).length).toBe(most);
    await expect(bytesOf(header, data(new Uint8Array(most + 1)))).rejects.toMatchObject({
      reason: "PAYLOAD_TOO_LARGE",
    });
  });

  it("are closed when their reader leaves", async () => {
    let isClosed = false;
    async function* watched() {
      try {
        yield* messages(header, data(Buffer.from("a")), data(Buffer.from("b")));
      } finally {
        isClosed = true;
      }
    }
    const { bytes } = await uploadFrames(watched());
    for await (const _ of bytes) break;
    expect(isClosed).toBe(true);
  });
});
