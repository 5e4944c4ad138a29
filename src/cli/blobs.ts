import { resolve } from "node:path";
import type { Logger } from "pino";
import type { BlobStore } from "../blobs/blob-store.ts";
import { openFilesystemBlobs } from "../blobs/filesystem.ts";
import { openNatsBlobs } from "../blobs/nats.ts";
import { openS3Blobs } from "../blobs/s3.ts";
import type { Nats } from "../eventlog/nats.ts";
import type { BlobSettings } from "./blob-settings.ts";
import { CliError, exitCodes } from "./cli-error.ts";
import { streamName } from "./stores.ts";

/** What the store stands on, besides its settings. */
export interface BlobsDeps {
  readonly nats: Nats;
  /** The first token of every subject. */
  readonly prefix: string;
  /** Copies in NATS: as many as the log has. */
  readonly replicas: number;
  readonly log: Logger;
}

/** Opens the store that the settings name. Throws a CliError that says which setting to look at when it can not be used. */
export async function openBlobs(settings: BlobSettings, deps: BlobsDeps): Promise<BlobStore> {
  try {
    return await openStore(settings, deps);
  } catch (error) {
    const cause = error instanceof Error ? error.message : String(error);
    throw new CliError(`artifacts can not be kept ${placeOf(settings)}: ${cause}`, hint, exitCodes.failed, {
      cause: error,
    });
  }
}

const hint = "SIGNALBOX_ARTIFACT_STORE chooses another store; `signalbox config` lists its settings.";

function openStore(settings: BlobSettings, { nats, prefix, replicas, log }: BlobsDeps): Promise<BlobStore> {
  switch (settings.kind) {
    case "filesystem":
      return openFilesystemBlobs({ dir: settings.dir, log });
    case "nats":
      return openNatsBlobs({ nats, stream: streamName("BLOBS", prefix), prefix, replicas, log });
    case "s3": {
      const { kind: _kind, ...bucket } = settings;
      return openS3Blobs({ ...bucket, log });
    }
  }
}

function placeOf(settings: BlobSettings): string {
  switch (settings.kind) {
    case "filesystem":
      return `in ${resolve(settings.dir)}`;
    case "nats":
      return "in NATS";
    case "s3":
      return `in the bucket ${settings.bucket} of ${settings.endpoint}`;
  }
}
