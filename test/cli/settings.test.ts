import { describe, expect, test } from "vitest";
import { type Setting, settingTable } from "../../src/cli/setting-table.ts";
import { describeSettings, readSettings } from "../../src/cli/settings.ts";

const token = "0123456789abcdef";
const secret = Buffer.alloc(32, 7).toString("base64");

function problemOf(env: NodeJS.ProcessEnv): string {
  try {
    readSettings(env);
  } catch (error) {
    return String(error);
  }
  throw new Error("the settings are fine");
}

describe("readSettings", () => {
  test("has a default for everything", () => {
    expect(readSettings({})).toEqual({
      host: "127.0.0.1",
      port: 8080,
      dataDir: ".signalbox",
      natsUrl: undefined,
      databaseUrl: undefined,
      auth: { mode: "none" },
      token: undefined,
      roles: ["server", "projector", "reactors", "worker"],
      leaseTtlMs: 30_000,
      durability: "fsync",
      secret: undefined,
      allowedOrigins: [],
      reflection: true,
      logLevel: "info",
      maxInputBytes: 1_048_576,
      maxOutputBytes: 1_048_576,
      drainTimeoutMs: 10_000,
      embeddings: undefined,
      artifactStore: "filesystem",
      artifactDir: undefined,
      s3Endpoint: undefined,
      s3Bucket: undefined,
      s3Region: "us-east-1",
      s3AccessKeyId: undefined,
      s3SecretAccessKey: undefined,
      maxArtifactBytes: 104_857_600,
      maxRunArtifacts: 50,
      maxRunArtifactBytes: 1_073_741_824,
      maxWorkspaceArtifactBytes: 107_374_182_400,
      artifactRetentionMs: 604_800_000,
      artifactGraceMs: 86_400_000,
      accessesPerMinute: 600,
      url: "http://127.0.0.1:8080",
      workspaceId: "ws_dev",
      onBehalfOf: [],
      defaultModel: undefined,
      openaiApiKey: undefined,
      openaiBaseUrl: undefined,
      anthropicApiKey: undefined,
      googleApiKey: undefined,
      modelProviders: undefined,
      modelPrices: undefined,
      modelTimeoutMs: 300_000,
      modelSilenceTimeoutMs: 60_000,
      traceContent: false,
    });
  });

  test.each([
    { env: { SIGNALBOX_HOST: "0.0.0.0" }, settings: { host: "0.0.0.0" } },
    { env: { SIGNALBOX_HOST: "::1" }, settings: { host: "::1" } },
    { env: { SIGNALBOX_PORT: "0" }, settings: { port: 0 } },
    { env: { SIGNALBOX_PORT: " 9000 " }, settings: { port: 9000 } },
    { env: { SIGNALBOX_PORT: "" }, settings: { port: 8080 } },
    { env: { NATS_URL: "nats://a:4222,tls://b" }, settings: { natsUrl: "nats://a:4222,tls://b" } },
    { env: { SIGNALBOX_ROOT_KEY: secret }, settings: { rootKey: new Uint8Array(32).fill(7) } },
    { env: { SIGNALBOX_ROOT_KEY_OLD: "file:/old.key" }, settings: { rootKeyOld: "file:/old.key" } },
    { env: { NATS_URL: "localhost:4222" }, settings: { natsUrl: "localhost:4222" } },
    { env: { DATABASE_URL: "postgresql://a/b" }, settings: { databaseUrl: "postgresql://a/b" } },
    { env: { SIGNALBOX_ROLES: "server, worker" }, settings: { roles: ["server", "worker"] } },
    { env: { SIGNALBOX_LEASE_TTL_MS: "1000" }, settings: { leaseTtlMs: 1000 } },
    { env: { SIGNALBOX_DURABILITY: "relaxed" }, settings: { durability: "relaxed" } },
    { env: { SIGNALBOX_SECRET: secret }, settings: { secret: new Uint8Array(32).fill(7) } },
    {
      env: { SIGNALBOX_ALLOWED_ORIGINS: "http://a:1,https://b" },
      settings: { allowedOrigins: ["http://a:1", "https://b"] },
    },
    { env: { SIGNALBOX_REFLECTION: "off" }, settings: { reflection: false } },
    { env: { SIGNALBOX_TOKEN: token }, settings: { token, auth: { mode: "none" } } },
    { env: { SIGNALBOX_MODEL: "a/b, c/d:e" }, settings: { defaultModel: "a/b, c/d:e" } },
    {
      env: { SIGNALBOX_MODEL_PROVIDERS: `{"own":{"baseUrl":"http://a/v1","apiKey":"k"}}` },
      settings: { modelProviders: { own: { baseUrl: "http://a/v1", apiKey: "k" } } },
    },
    { env: { SIGNALBOX_MODEL_PRICES: "@prices.json" }, settings: { modelPrices: "@prices.json" } },
    { env: { SIGNALBOX_TRACE_CONTENT: "on" }, settings: { traceContent: true } },
  ])("reads $env", ({ env, settings }) => {
    expect(readSettings(env)).toMatchObject(settings);
  });

  test("switches reflection off with authentication, unless it is asked for", () => {
    const env = { SIGNALBOX_AUTH: "static_token", SIGNALBOX_TOKEN: token };
    expect(readSettings(env)).toMatchObject({ auth: { mode: "static_token", token }, reflection: false });
    expect(readSettings({ ...env, SIGNALBOX_REFLECTION: "on" }).reflection).toBe(true);
  });

  test.each([
    ["SIGNALBOX_HOST", "a b"],
    ["SIGNALBOX_PORT", "65536"],
    ["SIGNALBOX_PORT", "-1"],
    ["SIGNALBOX_PORT", "80a"],
    ["SIGNALBOX_PORT", "1e3"],
    ["NATS_URL", "http://127.0.0.1:4222"],
    ["NATS_URL", "nats://a,,nats://b"],
    ["DATABASE_URL", "mysql://a/b"],
    ["DATABASE_URL", "127.0.0.1"],
    ["SIGNALBOX_AUTH", "password"],
    ["SIGNALBOX_TOKEN", "short"],
    ["SIGNALBOX_TOKEN", "with a space inside it"],
    ["SIGNALBOX_ROLES", "server,janitor"],
    ["SIGNALBOX_ROLES", ","],
    ["SIGNALBOX_LEASE_TTL_MS", "999"],
    ["SIGNALBOX_LEASE_TTL_MS", "3600001"],
    ["SIGNALBOX_DURABILITY", "yes"],
    ["SIGNALBOX_SECRET", "c2hvcnQ="],
    ["SIGNALBOX_ROOT_KEY", "c2hvcnQ="],
    ["SIGNALBOX_ROOT_KEY_OLD", "/old.key"],
    ["SIGNALBOX_MAX_ARTIFACT_BYTES", "100 MB"],
    ["SIGNALBOX_MAX_RUN_ARTIFACTS", "0"],
    ["SIGNALBOX_ARTIFACT_RETENTION_MS", "999"],
    ["SIGNALBOX_ARTIFACT_GRACE_MS", "-1"],
    ["SIGNALBOX_PUBLIC_URL", "box.example"],
    ["SIGNALBOX_PUBLIC_URL", "https://box.example/?x=1"],
    ["SIGNALBOX_PUBLIC_URL", "https://user:hunter2@box.example"],
    ["SIGNALBOX_ALLOWED_ORIGINS", "*"],
    ["SIGNALBOX_ALLOWED_ORIGINS", "https://a/path"],
    ["SIGNALBOX_REFLECTION", "true"],
    ["SIGNALBOX_LOG_LEVEL", "loud"],
    ["SIGNALBOX_MAX_INPUT_BYTES", "4194305"],
    ["SIGNALBOX_MAX_OUTPUT_BYTES", "0"],
    ["SIGNALBOX_DRAIN_TIMEOUT_MS", "forever"],
    ["SIGNALBOX_ARTIFACT_STORE", "memory"],
    ["SIGNALBOX_S3_ENDPOINT", "s3.example"],
    ["SIGNALBOX_S3_ENDPOINT", "https://s3.example/bucket"],
    ["SIGNALBOX_S3_BUCKET", "Not_a_bucket"],
    ["SIGNALBOX_S3_REGION", "eu central"],
    ["SIGNALBOX_S3_ACCESS_KEY_ID", "two words"],
    ["SIGNALBOX_S3_SECRET_ACCESS_KEY", "two words"],
    ["SIGNALBOX_URL", "127.0.0.1:8080"],
    ["SIGNALBOX_WORKSPACE", "dev"],
    ["SIGNALBOX_MODEL", "gpt"],
    ["SIGNALBOX_MODEL", "a/b,"],
    ["OPENAI_API_KEY", "two words"],
    ["OPENAI_BASE_URL", "127.0.0.1:11434"],
    ["ANTHROPIC_API_KEY", "two words"],
    ["GOOGLE_GENERATIVE_AI_API_KEY", "two words"],
    ["SIGNALBOX_MODEL_PROVIDERS", `{"own":"http://a/v1"}`],
    ["SIGNALBOX_MODEL_PROVIDERS", "own"],
    ["SIGNALBOX_MODEL_PRICES", `{"gpt":1}`],
    ["SIGNALBOX_MODEL_TIMEOUT_MS", "1"],
    ["SIGNALBOX_MODEL_SILENCE_TIMEOUT_MS", "soon"],
    ["SIGNALBOX_TRACE_CONTENT", "yes"],
  ])("refuses %s=%s and says what is allowed, with an example", (variable, value) => {
    const problem = problemOf({ [variable]: value });
    expect(problem).toContain(`${variable} `);
    expect(problem).toMatch(new RegExp(`give .+, for example ${variable}=`));
  });

  test("lists every bad variable at once", () => {
    const problem = problemOf({ SIGNALBOX_PORT: "x", SIGNALBOX_AUTH: "x", SIGNALBOX_DURABILITY: "replicated" });
    expect(problem).toContain("SIGNALBOX_PORT");
    expect(problem).toContain("SIGNALBOX_AUTH");
    expect(problem).toContain("SIGNALBOX_DURABILITY=replicated needs a cluster");
  });

  test("asks for the token that static_token needs", () => {
    expect(problemOf({ SIGNALBOX_AUTH: "static_token" })).toContain("SIGNALBOX_TOKEN is not set");
  });

  test("takes the root key from one place only", () => {
    const env = { SIGNALBOX_ROOT_KEY: secret, SIGNALBOX_ROOT_KEY_COMMAND: "kms" };
    expect(() => readSettings(env)).toThrow("SIGNALBOX_ROOT_KEY_COMMAND and SIGNALBOX_ROOT_KEY are both set");
  });

  test("asks for the model that an API for embeddings needs", () => {
    const env = { SIGNALBOX_EMBEDDINGS_URL: "http://a:1/v1" };
    expect(problemOf(env)).toContain("SIGNALBOX_EMBEDDINGS_MODEL is not set");
    const { embeddings } = readSettings({
      ...env,
      SIGNALBOX_EMBEDDINGS_MODEL: "m",
      SIGNALBOX_EMBEDDINGS_API_KEY: "key",
    });
    expect(embeddings).toEqual({ url: "http://a:1/v1", model: "m", apiKey: "key" });
  });

  test("masks the key for embeddings", () => {
    const described = describeSettings({ SIGNALBOX_EMBEDDINGS_API_KEY: "hunter2" });
    expect(described.find(({ name }) => name === "SIGNALBOX_EMBEDDINGS_API_KEY")?.value).toBe("********");
    expect(JSON.stringify(described)).not.toContain("hunter2");
  });

  const s3 = {
    SIGNALBOX_S3_ENDPOINT: "https://s3.example/",
    SIGNALBOX_S3_BUCKET: "files",
    SIGNALBOX_S3_ACCESS_KEY_ID: "id",
    SIGNALBOX_S3_SECRET_ACCESS_KEY: "hunter2",
  };

  test("asks for everything that the store s3 needs", () => {
    const problem = problemOf({ SIGNALBOX_ARTIFACT_STORE: "s3" });
    for (const variable of Object.keys(s3)) {
      expect(problem).toContain(`${variable} is not set, but SIGNALBOX_ARTIFACT_STORE=s3 needs it: give `);
    }
    expect(problemOf({ ...s3, SIGNALBOX_ARTIFACT_STORE: "s3", SIGNALBOX_S3_BUCKET: "" })).not.toContain("ENDPOINT");
  });

  const examples = Object.values<Setting>(settingTable).filter(({ example }) => !example.startsWith("$("));
  test.each(examples)("takes its own example $variable=$example", ({ variable, example }) => {
    const others = { SIGNALBOX_TOKEN: token, SIGNALBOX_EMBEDDINGS_MODEL: "small" };
    expect(() => readSettings({ ...others, [variable]: example })).not.toThrow();
  });

  test("keeps secrets out of its errors", () => {
    const problem = problemOf({
      SIGNALBOX_SECRET: "hunter2",
      SIGNALBOX_TOKEN: "hunter2",
      DATABASE_URL: "mysql://user:hunter2@host/db",
    });
    expect(problem).not.toContain("hunter2");
  });
});

describe("describeSettings", () => {
  const find = (env: NodeJS.ProcessEnv, name: string) => describeSettings(env).find((setting) => setting.name === name);

  test("says where a value comes from", () => {
    expect(find({}, "SIGNALBOX_PORT")).toMatchObject({ value: "8080", default: "8080", source: "default" });
    expect(find({ SIGNALBOX_PORT: "9000" }, "SIGNALBOX_PORT")).toMatchObject({
      value: "9000",
      default: "8080",
      source: "environment",
    });
    expect(find({}, "NATS_URL")).toMatchObject({ value: "embedded", source: "default" });
  });

  test("says what is wrong instead of throwing", () => {
    expect(find({ SIGNALBOX_PORT: "x" }, "SIGNALBOX_PORT")?.problem).toContain("SIGNALBOX_PORT");
    expect(find({ SIGNALBOX_PORT: "x" }, "SIGNALBOX_HOST")?.problem).toBeUndefined();
  });

  test.each([
    ["SIGNALBOX_TOKEN", token, "********"],
    ["SIGNALBOX_SECRET", secret, "********"],
    ["SIGNALBOX_ROOT_KEY", secret, "********"],
    ["SIGNALBOX_ROOT_KEY_OLD", "command:kms --token hunter2", "********"],
    ["DATABASE_URL", "postgres://user:p@ss/word@host:5432/db", "postgres://user:***@host:5432/db"],
    ["DATABASE_URL", "postgres://host/db?user=u&password=hunter2", "postgres://host/db?user=u&password=***"],
    ["NATS_URL", "nats://token@a:4222,nats://u:p@b:4222", "nats://***@a:4222,nats://u:***@b:4222"],
    ["DATABASE_URL", "postgres://user:p,w@host/db", "postgres://user:***@host/db"],
    ["NATS_URL", "u:p@b:4222", "u:***@b:4222"],
    ["SIGNALBOX_S3_ENDPOINT", "https://u:p@s3.example", "https://u:***@s3.example"],
    ["SIGNALBOX_S3_ACCESS_KEY_ID", "AKIA123", "********"],
    ["SIGNALBOX_S3_SECRET_ACCESS_KEY", "hunter2", "********"],
  ])("masks %s=%s", (variable, value, masked) => {
    expect(find({ [variable]: value }, variable)?.value).toBe(masked);
  });
});
