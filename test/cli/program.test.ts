import { describe, expect, test } from "vitest";
import { CliError, exitCodes } from "../../src/cli/cli-error.ts";
import { runProgram } from "../../src/cli/program.ts";
import { createTestOutput } from "./sink.ts";

async function run(args: readonly string[], env: NodeJS.ProcessEnv = {}) {
  const { output, stdout, stderr } = createTestOutput({ json: args.includes("--json") });
  const signal = new AbortController().signal;
  const outcome: unknown = await runProgram(args, { env, output, signal }).catch((error: unknown) => error);
  return { outcome, stdout: stdout.text(), stderr: stderr.text() };
}

const commands = [
  "up",
  "serve",
  "worker",
  "run",
  "runs ls",
  "runs get",
  "runs cancel",
  "runs wait",
  "runs steps",
  "runs pause",
  "runs resume",
  "runs retry",
  "runs fork",
  "runs send",
  "artifacts list",
  "artifacts show",
  "artifacts usage",
  "artifacts upload",
  "artifacts download",
  "artifacts delete",
  "artifacts restore",
  "artifacts hold",
  "artifacts release",
  "artifacts grant",
  "artifacts revoke",
  "artifacts grants",
  "artifacts link",
  "artifacts unlink",
  "artifacts access",
  "artifacts prove",
  "bundle",
  "board",
  "rooms ls",
  "rooms show",
  "rooms create",
  "rooms update",
  "rooms archive",
  "rooms changes",
  "rooms unread",
  "rooms read",
  "rooms members ls",
  "rooms members add",
  "rooms members rm",
  "rooms threads ls",
  "rooms threads create",
  "say",
  "tail",
  "approvals ls",
  "approvals show",
  "approvals approve",
  "approvals deny",
  "approvals hold",
  "approvals edit",
  "approvals delegate",
  "policy show",
  "policy put",
  "policy versions",
  "policy eval",
  "policy simulate",
  "kill-switch on",
  "kill-switch off",
  "kill-switch status",
  "incidents ls",
  "incidents show",
  "incidents open",
  "incidents ack",
  "incidents note",
  "incidents resolve",
  "tool-calls ls",
  "tool-calls reconcile",
  "events tail",
  "events ls",
  "agents create",
  "agents get",
  "agents ls",
  "agents update",
  "agents pause",
  "agents resume",
  "agents archive",
  "eval run",
  "eval put",
  "eval list",
  "eval show",
  "eval archive",
  "sessions ls",
  "sessions get",
  "sessions history",
  "documents add",
  "documents ls",
  "documents get",
  "documents delete",
  "documents search",
  "schedules create",
  "schedules update",
  "schedules ls",
  "schedules get",
  "schedules pause",
  "schedules resume",
  "schedules archive",
  "schedules trigger",
  "queues ls",
  "queues get",
  "queues put",
  "workers ls",
  "migrate",
  "rebuild",
  "verify",
  "doctor",
  "config",
];

describe("help", () => {
  test.each(commands)("of `%s` has an example that names it, and --json", async (command) => {
    const { outcome, stdout } = await run([...command.split(" "), "--help"]);
    expect(outcome).toBe(exitCodes.ok);
    expect(stdout).toMatch(new RegExp(`Examples:\\n(.*\\n)*? {2}\\$ .*signalbox ${command}`));
    expect(stdout).toContain("--json");
  });

  test("of the program lists commands and exit codes", async () => {
    const { outcome, stdout } = await run(["--help"]);
    expect(outcome).toBe(exitCodes.ok);
    for (const command of commands) expect(stdout).toContain(`\n  ${command.split(" ")[0]}`);
    for (const code of Object.values(exitCodes)) expect(stdout).toMatch(new RegExp(`\\n  ${code} +\\S`));
  });

  test("comes with --json too", async () => {
    expect((await run(["runs", "--help", "--json"])).stdout).toContain("Usage: signalbox runs");
  });

  test("--version prints the version alone", async () => {
    const { outcome, stdout } = await run(["--version"]);
    expect(outcome).toBe(exitCodes.ok);
    expect(stdout).toMatch(/^\d+\.\d+\.\d+\n$/);
  });
});

describe("a wrong call", () => {
  test.each([
    { args: [], message: "no command" },
    { args: ["runs"], message: "no command" },
    { args: ["fly"], message: "unknown command 'fly'" },
    { args: ["runs", "cancle"], message: "Did you mean cancel?" },
    { args: ["up", "--fast"], message: "unknown option '--fast'" },
    { args: ["runs", "get"], message: "missing required argument 'run-id'" },
    { args: ["runs", "get", "a", "b"], message: "too many arguments" },
    { args: ["run", "echo", "--max-duration", "soon"], message: "for example 30s" },
    { args: ["run", "echo", "--label", "x"], message: "for example team=research" },
    { args: ["runs", "ls", "--status", "done"], message: "Give some of queued" },
    { args: ["runs", "ls", "--limit", "0"], message: "whole number from 1" },
    { args: ["runs", "ls", "--end-reason", "tired"], message: "Give some of completed" },
    { args: ["runs", "resume", "run_1", "--budget", "10"], message: "Give some of tokens" },
    { args: ["runs", "resume", "run_1", "--budget", "cost=ten"], message: "for example 2.50" },
    { args: ["runs", "send", "run_1"], message: "missing required argument 'message'" },
    { args: ["runs", "send", "run_1", "{yes}"], message: "<message> is no JSON" },
    { args: ["run", "echo", "--retry", "on-exhausted=sleep"], message: "Give one of fail, pause" },
    { args: ["agents", "update", "agt_1", "--memory", "history=yes"], message: "Give one of on, off" },
    { args: ["queues", "put", "mail", "--rate", "fast"], message: "for example 100/1m, or none" },
    { args: ["schedules", "create", "--name", "x"], message: "required option '--cron <expression>'" },
    { args: ["documents", "search", "x", "--min-score", "2"], message: "number from 0 to 1" },
    { args: ["events", "ls", "--from", "-1"], message: "whole number from 0" },
    { args: ["agents", "create"], message: "required option '--name <text>'" },
    { args: ["agents", "create", "--name", "x", "--zone", "moon"], message: "Allowed choices are sandbox" },
    { args: ["worker", "--concurrency", "many"], message: "whole number from 1" },
    { args: ["tail"], message: "required option '--room <room-id>'" },
    { args: ["kill-switch", "on"], message: "required option '--reason <text>'" },
    { args: ["rooms", "members", "add", "room_1", "alice"], message: "a name like user:alice" },
    { args: ["rooms", "update", "room_1"], message: "nothing to change was given" },
    { args: ["policy", "eval", "x", "--effect", "magic"], message: "Allowed choices are read" },
    { args: ["incidents", "open", "x", "--link", "run_1"], message: "a colon and an id" },
    { args: ["tool-calls", "reconcile", "tc_1", "--run", "r", "--note", "n"], message: "whether the call took effect" },
    { args: ["runs", "ls", "--as", "alice"], message: "SIGNALBOX_AS" },
    { args: ["run"], message: "give a handler, --agent or --preset" },
    { args: ["run", "echo", "--agent", "agt_1"], message: "give a handler, --agent or --preset" },
    { args: ["run", "echo", "--input", "{hello}"], message: "--input is no JSON" },
    { args: ["run", "echo", "--input", "@/no/such/file"], message: "--input can not be read: ENOENT" },
    { args: ["agents", "update", "agt_1"], message: "nothing to change was given" },
    { args: ["artifacts", "hold", "art_1"], message: "required option '--reason <text>'" },
    { args: ["artifacts", "grant", "art_1", "bob"], message: "Give user:alice, role:auditor" },
    { args: ["artifacts", "list", "--status", "lost"], message: "Give some of available" },
    { args: ["bundle", "../run_1"], message: "is no id of a run" },
    { args: ["verify", "x.zip", "--head", "abc"], message: "Give a SHA-256" },
    { args: ["verify", "--head", "0".repeat(64)], message: "--head needs a bundle" },
    { args: ["verify", "/no/such.zip"], message: "/no/such.zip can not be read: ENOENT" },
    { args: ["serve"], message: "serve needs NATS_URL and DATABASE_URL" },
    { args: ["serve", "--roles", "janitor"], message: "SIGNALBOX_ROLES" },
    { args: ["runs", "ls", "--url", "nowhere"], message: "SIGNALBOX_URL" },
    { args: ["runs", "ls", "--workspace", "mine"], message: "SIGNALBOX_WORKSPACE" },
  ])("`signalbox $args` says what is wrong and where to look", async ({ args, message }) => {
    const { outcome, stdout } = await run(args);
    expect(outcome).toBeInstanceOf(CliError);
    const { message: said, hint, exitCode } = outcome as CliError;
    expect(said).toContain(message);
    expect(hint).not.toBe("");
    expect(exitCode).toBe(exitCodes.usage);
    expect(stdout).toBe("");
  });

  test("lists bad settings, whatever the command", async () => {
    const { outcome } = await run(["runs", "ls"], { SIGNALBOX_PORT: "x", SIGNALBOX_AUTH: "y" });
    expect(String(outcome)).toMatch(/SIGNALBOX_PORT[^]*SIGNALBOX_AUTH/);
  });
});

describe("config", () => {
  test("lists every setting with its value and where that comes from", async () => {
    const { outcome, stdout } = await run(["config"], { SIGNALBOX_PORT: "9000", SIGNALBOX_TOKEN: "0123456789abcdef" });
    expect(outcome).toBe(exitCodes.ok);
    expect(stdout).toMatch(/SIGNALBOX_PORT +9000 +environment/);
    expect(stdout).toMatch(/SIGNALBOX_HOST +127\.0\.0\.1 +default/);
    expect(stdout).not.toContain("0123456789abcdef");
  });

  test("lists them with --json, one value per line, and says what is wrong", async () => {
    const { outcome, stdout, stderr } = await run(["config", "--json"], { SIGNALBOX_PORT: "x" });
    expect(outcome).toBe(exitCodes.usage);
    const settings = stdout
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line) as { name: string; problem: string | null });
    expect(settings.find(({ name }) => name === "SIGNALBOX_PORT")?.problem).toContain("SIGNALBOX_PORT");
    expect(stderr).toContain("SIGNALBOX_PORT");
  });
});
