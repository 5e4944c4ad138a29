import { z } from "zod";

const bytes = z.codec(
  z.base64(),
  z.custom<Uint8Array>((value) => value instanceof Uint8Array),
  {
    decode: (text) => new Uint8Array(Buffer.from(text, "base64")),
    encode: (value) => Buffer.from(value).toString("base64"),
  },
);
const time = z.codec(z.iso.datetime(), z.date(), {
  decode: (text) => new Date(text),
  encode: (value) => value.toISOString(),
});

/** The key of an artifact, as it is stored. */
const dataSchema = z.object({
  createTime: time,
  /** The workspace key that wraps what follows. */
  keyId: z.string(),
  /** The data key; unset when only its recipient can open it. */
  key: bytes.optional(),
  /** Whom it was wrapped to. */
  recipient: z.string().optional(),
  /** The age file that they can open. It is wrapped too, so that destroying the workspace's key takes it along. */
  age: bytes.optional(),
});

/** The keys of a workspace, as they are stored. */
const workspaceSchema = z.object({
  /** Oldest first; the last one wraps what is new, the others wrap what a rotation has not come to yet. */
  keys: z.array(z.object({ keyId: z.string(), createTime: time, rootId: z.string(), wrapped: bytes })),
  /** Ids of keys that nothing was wrapped by any more when they were given up. */
  retired: z.array(z.string()),
  /** Ids of keys that were destroyed with all that they wrapped. */
  destroyed: z.array(z.string()),
});

/** Which root key the installation uses, as it is stored. */
const rootSchema = z.object({ rootId: z.string() });

/** The key of an artifact. */
export type DataRecord = z.output<typeof dataSchema>;
/** The keys of a workspace. */
export type WorkspaceRecord = z.output<typeof workspaceSchema>;
/** Which root key the installation uses. */
export type RootRecord = z.output<typeof rootSchema>;

/** How a kind of record becomes bytes and back. */
export interface RecordFormat<T> {
  encode(record: T): Uint8Array;
  /** Throws when these are not the bytes of such a record. */
  decode(value: Uint8Array): T;
}

/** Keys of artifacts. */
export const dataFormat: RecordFormat<DataRecord> = formatOf(dataSchema);
/** Keys of workspaces. */
export const workspaceFormat: RecordFormat<WorkspaceRecord> = formatOf(workspaceSchema);
/** The root key's id. */
export const rootFormat: RecordFormat<RootRecord> = formatOf(rootSchema);

/** Names in the store. */
export const names = {
  root: "root",
  workspaces: "workspace",
  workspace: (workspaceId: string) => `workspace.${workspaceId}`,
  allData: "data",
  workspaceData: (workspaceId: string) => `data.${workspaceId}`,
  data: (workspaceId: string, artifactId: string) => `data.${workspaceId}.${artifactId}`,
  /** That a key was destroyed on purpose. */
  gone: (workspaceId: string, artifactId: string) => `gone.${workspaceId}.${artifactId}`,
};

function formatOf<T>(schema: z.ZodType<T>): RecordFormat<T> {
  return {
    encode: (record) => Buffer.from(JSON.stringify(z.encode(schema, record))),
    decode: (value) => z.decode(schema, JSON.parse(Buffer.from(value).toString()) as z.input<typeof schema>),
  };
}
