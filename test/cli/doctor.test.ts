import { once } from "node:events";
import { chmod, mkdir, readdir } from "node:fs/promises";
import { type AddressInfo, createServer } from "node:net";
import { join } from "node:path";
import { describe, expect, inject, test } from "vitest";
import { doctor } from "../../src/cli/actions/doctor.ts";
import { checkNode } from "../../src/cli/checks.ts";
import { exitCodes } from "../../src/cli/cli-error.ts";
import { script, temporaryFolder } from "../stack/folder.ts";
import { createDatabase } from "./database.ts";
import { createTestOutput } from "./sink.ts";

const containing = (text: string): unknown => expect.stringContaining(text);

interface Finding {
  readonly check: string;
  readonly ok: boolean;
  readonly message: string;
  readonly hint: string;
}

async function examine(env: NodeJS.ProcessEnv) {
  const { output, stdout } = createTestOutput({ json: true });
  const code = await doctor({
    env: { PATH: process.env["PATH"], ...env },
    output,
    signal: new AbortController().signal,
  });
  const lines = stdout.text().trim().split("\n");
  const findings = new Map(lines.map((line) => JSON.parse(line) as Finding).map((finding) => [finding.check, finding]));
  return { code, findings };
}

describe("doctor", () => {
  test("finds nothing wrong with an empty machine, and changes nothing", async () => {
    await using folder = await temporaryFolder();
    const { code, findings } = await examine({ SIGNALBOX_PORT: "0", SIGNALBOX_DATA_DIR: join(folder.path, "a", "b") });
    expect([...findings.values()].filter(({ ok }) => !ok)).toEqual([]);
    expect(code).toBe(exitCodes.ok);
    expect(findings.get("data folder")?.message).toContain("can be created");
    expect(await readdir(folder.path)).toEqual([]);
  });

  test("stops at settings that can not be used", async () => {
    const { code, findings } = await examine({ SIGNALBOX_PORT: "x" });
    expect(code).toBe(exitCodes.failed);
    expect([...findings.keys()]).toEqual(["settings"]);
    expect(findings.get("settings")).toMatchObject({ ok: false, message: containing("SIGNALBOX_PORT") });
  });

  test("names a variable that is no setting", async () => {
    const { code, findings } = await examine({ SIGNALBOX_PROT: "1", SIGNALBOX_PORT: "0" });
    expect(code).toBe(exitCodes.failed);
    expect(findings.get("variables")).toMatchObject({ ok: false, message: containing("SIGNALBOX_PROT") });
  });

  test("says when NATS and Postgres do not answer", async () => {
    const { code, findings } = await examine({
      NATS_URL: "nats://127.0.0.1:9",
      DATABASE_URL: "postgres://u:hunter2@127.0.0.1:9/db",
      SIGNALBOX_PORT: "0",
    });
    expect(code).toBe(exitCodes.failed);
    expect(findings.get("nats")).toMatchObject({ ok: false, message: containing("NATS_URL") });
    expect(findings.get("postgres")).toMatchObject({ ok: false, message: containing("does not answer") });
    expect(JSON.stringify([...findings.values()])).not.toContain("hunter2");
  });

  test("looks at a NATS and a Postgres of the user's own", async () => {
    await using database = await createDatabase();
    const { findings } = await examine({
      NATS_URL: inject("natsUrl"),
      DATABASE_URL: database.url,
      SIGNALBOX_PORT: "0",
    });
    expect(findings.get("nats")).toMatchObject({ ok: true, message: containing("version ") });
    expect(findings.get("postgres")).toMatchObject({ ok: false, hint: containing("signalbox migrate") });
  });

  test("says which nats-server can not be used", async () => {
    await using folder = await temporaryFolder();
    const old = await script(join(folder.path, "nats-server"), "echo nats-server: v2.9.10");
    const { findings } = await examine({ SIGNALBOX_NATS_SERVER: old, SIGNALBOX_PORT: "0" });
    expect(findings.get("nats")).toMatchObject({ ok: false, message: containing("2.9.10") });
    expect(findings.get("nats")?.hint).toContain("SIGNALBOX_NATS_SERVER");
  });

  test("says when another program has the port", async () => {
    const server = createServer((socket) => socket.on("error", () => {}).end("hello\r\n")).listen(0, "127.0.0.1");
    await once(server, "listening");
    const { port } = server.address() as AddressInfo;
    const { findings } = await examine({ SIGNALBOX_PORT: String(port) });
    server.close();
    expect(findings.get("port")).toMatchObject({ ok: false, hint: containing(`lsof -i :${port}`) });
    expect(findings.get("port")?.hint).toContain("SIGNALBOX_PORT");
  });

  test("says when the server that is named does not answer", async () => {
    const { findings } = await examine({ SIGNALBOX_URL: "http://127.0.0.1:9", SIGNALBOX_PORT: "0" });
    expect(findings.get("server")).toMatchObject({ ok: false, message: containing("127.0.0.1:9") });
  });

  test.skipIf(process.getuid?.() === 0)("says when the data folder can not be written to", async () => {
    await using folder = await temporaryFolder();
    const dataDir = join(folder.path, "data");
    await mkdir(dataDir, { mode: 0o500 });
    const { findings } = await examine({ SIGNALBOX_DATA_DIR: dataDir, SIGNALBOX_PORT: "0" });
    await chmod(dataDir, 0o700);
    expect(findings.get("data folder")).toMatchObject({
      ok: false,
      hint: containing("SIGNALBOX_DATA_DIR"),
    });
  });
});

describe("checkNode", () => {
  test("takes 22.22 and newer", () => {
    for (const version of ["22.22.0", "22.30.1", "26.10.0"]) expect(checkNode(version)).toBe(`Node ${version}`);
  });

  test("refuses older ones", () => {
    for (const version of ["20.19.0", "22.21.9"]) expect(() => checkNode(version)).toThrow("older than 22.22");
  });
});
