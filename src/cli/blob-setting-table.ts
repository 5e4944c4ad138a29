import { z } from "zod";
import { maskUrl } from "./mask.ts";
import type { Setting } from "./setting-table.ts";

const hidden = () => "********";
const credential = z
  .string()
  .regex(/^[!-~]+$/)
  .optional();
const credentialText = "visible characters without spaces";

/** Every setting of where the bytes of artifacts are kept, by its name in the program. */
export const blobSettingTable = {
  artifactStore: {
    variable: "SIGNALBOX_ARTIFACT_STORE",
    schema: z.enum(["filesystem", "nats", "s3"]),
    fallback: "filesystem",
    allowed: "filesystem, nats or s3",
    example: "nats",
    description:
      "where the sealed bytes of artifacts are kept; servers on several machines need one that all of them reach",
  },
  artifactDir: {
    variable: "SIGNALBOX_ARTIFACT_DIR",
    schema: z.string().min(1).optional(),
    unset: "artifacts in the data folder",
    allowed: "a folder that this user may write to, of this installation alone",
    example: "/var/lib/signalbox/artifacts",
    description: "the folder of the store filesystem",
  },
  s3Endpoint: {
    variable: "SIGNALBOX_S3_ENDPOINT",
    schema: z
      .string()
      .transform((text) => text.replace(/\/$/, ""))
      .refine((text) => /^https?:/.test(text) && URL.parse(text)?.origin === text)
      .optional(),
    unset: "none",
    allowed: "the http:// or https:// address of an S3-compatible service, without a path",
    example: "https://s3.eu-central-1.amazonaws.com",
    description: "the service of the store s3",
    mask: maskUrl,
  },
  s3Bucket: {
    variable: "SIGNALBOX_S3_BUCKET",
    schema: z
      .string()
      .regex(/^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$/)
      .optional(),
    unset: "none",
    allowed: "the name of a bucket that is there, of this installation alone",
    example: "signalbox-artifacts",
    description: "the bucket of the store s3",
  },
  s3Region: {
    variable: "SIGNALBOX_S3_REGION",
    schema: z.string().regex(/^[a-z0-9-]{1,64}$/),
    fallback: "us-east-1",
    allowed: "small letters, digits and hyphens",
    example: "eu-central-1",
    description: "the region of that bucket; services without regions take any",
  },
  s3AccessKeyId: {
    variable: "SIGNALBOX_S3_ACCESS_KEY_ID",
    schema: credential,
    unset: "none",
    allowed: credentialText,
    example: "AKIA0123456789ABCDEF",
    description: "who writes to that bucket",
    mask: hidden,
  },
  s3SecretAccessKey: {
    variable: "SIGNALBOX_S3_SECRET_ACCESS_KEY",
    schema: credential,
    unset: "none",
    allowed: credentialText,
    example: "your-secret-access-key",
    description: "the secret that belongs to it",
    mask: hidden,
  },
} as const satisfies Record<string, Setting>;
