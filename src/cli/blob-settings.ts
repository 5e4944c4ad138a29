import { join } from "node:path";
import type { S3Bucket } from "../blobs/s3-requests.ts";
import type { blobSettingTable } from "./blob-setting-table.ts";
import type { SettingValues } from "./setting-table.ts";

/** What the environment says of where artifacts are kept. */
export type BlobSettingValues = Pick<SettingValues, keyof typeof blobSettingTable>;

/** Where the bytes of artifacts are kept: what a store needs to be opened. */
export type BlobSettings =
  | { readonly kind: "filesystem"; readonly dir: string }
  | { readonly kind: "nats" }
  | ({ readonly kind: "s3" } & S3Bucket);

/** The settings that the store s3 can not do without: readSettings refuses them unset. */
export const neededByS3 = ["s3Endpoint", "s3Bucket", "s3AccessKeyId", "s3SecretAccessKey"] as const;

/** The store that the settings name. Its folder is as given: relative to the working folder unless absolute. */
export function blobSettings(settings: BlobSettingValues & Pick<SettingValues, "dataDir">): BlobSettings {
  switch (settings.artifactStore) {
    case "filesystem":
      return { kind: "filesystem", dir: settings.artifactDir ?? join(settings.dataDir, "artifacts") };
    case "nats":
      return { kind: "nats" };
    case "s3":
      return {
        kind: "s3",
        endpoint: settings.s3Endpoint ?? "",
        bucket: settings.s3Bucket ?? "",
        region: settings.s3Region,
        accessKeyId: settings.s3AccessKeyId ?? "",
        secretAccessKey: settings.s3SecretAccessKey ?? "",
      };
  }
}
