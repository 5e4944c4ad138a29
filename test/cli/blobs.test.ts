import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { blobSettings } from "../../src/cli/blob-settings.ts";
import { openBlobs } from "../../src/cli/blobs.ts";
import { readSettings } from "../../src/cli/settings.ts";
import { temporaryFolder } from "../stack/folder.ts";
import { openTestBackend } from "../support/backend.ts";

const s3 = {
  SIGNALBOX_S3_ENDPOINT: "https://s3.example/",
  SIGNALBOX_S3_BUCKET: "files",
  SIGNALBOX_S3_ACCESS_KEY_ID: "id",
  SIGNALBOX_S3_SECRET_ACCESS_KEY: "hunter2",
};

test.each([
  { env: { SIGNALBOX_DATA_DIR: "/data" }, blobs: { kind: "filesystem", dir: "/data/artifacts" } },
  { env: { SIGNALBOX_ARTIFACT_DIR: "files" }, blobs: { kind: "filesystem", dir: "files" } },
  { env: { SIGNALBOX_ARTIFACT_STORE: "nats", ...s3 }, blobs: { kind: "nats" } },
  {
    env: { SIGNALBOX_ARTIFACT_STORE: "s3", ...s3 },
    blobs: {
      kind: "s3",
      endpoint: "https://s3.example",
      bucket: "files",
      region: "us-east-1",
      accessKeyId: "id",
      secretAccessKey: "hunter2",
    },
  },
])("keeps artifacts where $env says", ({ env, blobs }) => {
  expect(blobSettings(readSettings(env))).toEqual(blobs);
});

describe("openBlobs", () => {
  test("opens the store that the settings name", async () => {
    await using folder = await temporaryFolder();
    await using backend = await openTestBackend();
    const deps = { nats: backend.nats, prefix: backend.prefix, replicas: 1, log: backend.logger };
    await using files = await openBlobs({ kind: "filesystem", dir: join(folder.path, "files") }, deps);
    expect(files.kind).toBe("filesystem");
    await using inNats = await openBlobs({ kind: "nats" }, deps);
    expect(inNats.kind).toBe("nats");
    const { config } = await backend.nats.jsm.streams.info(`BLOBS_${backend.prefix}`);
    expect(config).toMatchObject({ storage: "file", num_replicas: 1, subjects: [`${backend.prefix}.blob.>`] });
  });

  test("names the place that can not be used, and the setting", async () => {
    await using backend = await openTestBackend();
    const deps = { nats: backend.nats, prefix: backend.prefix, replicas: 1, log: backend.logger };
    const bucket = { endpoint: "http://127.0.0.1:1", bucket: "files", region: "r", accessKeyId: "id" };
    await expect(openBlobs({ kind: "s3", ...bucket, secretAccessKey: "hunter2" }, deps)).rejects.toMatchObject({
      message: expect.stringMatching(
        /^artifacts can not be kept in the bucket files of http:\/\/127.0.0.1:1: /,
      ) as string,
      hint: expect.stringContaining("SIGNALBOX_ARTIFACT_STORE") as string,
    });
    await expect(openBlobs({ kind: "filesystem", dir: "/dev/null/artifacts" }, deps)).rejects.toThrow(
      "artifacts can not be kept in /dev/null/artifacts: ",
    );
  });
});
