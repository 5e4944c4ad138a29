import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { glob, readFile, writeFile } from "node:fs/promises";
import { dirname, join, normalize } from "node:path";
import { promisify } from "node:util";
import { fromJsonString } from "@bufbuild/protobuf";
import { afterAll, describe, expect, test } from "vitest";
import { PolicySchema } from "../../gen/signalbox/v1/policy_pb.ts";
import { runProgram } from "../../src/cli/program.ts";
import { createTestOutput } from "../cli/sink.ts";
import { temporaryFolder } from "../stack/folder.ts";
import { openInstallation } from "../support/installation.ts";
import { codeBlocks, readDocuments, root } from "./documents.ts";

const documents = await readDocuments();
const readme = documents.get("README.md") ?? "";
const installation = await openInstallation({ workers: 1 });
afterAll(() => installation[Symbol.asyncDispose]());

const bash = async (script: string) => (await promisify(execFile)("bash", ["-euo", "pipefail", "-c", script])).stdout;

/** A script of the documents, for the server of this test. */
function here(script: string): string {
  return script.replaceAll("http://127.0.0.1:8080", installation.url);
}

describe("README", () => {
  const curls = codeBlocks(readme, "sh").filter((script) => script.startsWith("curl"));

  test("starts a run and waits for its end with the two curls of the first screen", async () => {
    const [create = "", wait = ""] = curls;
    const created = JSON.parse(await bash(here(create))) as { run: { runId: string } };
    const ended = JSON.parse(await bash(here(wait).replace("run_…", created.run.runId))) as unknown;
    expect(ended).toMatchObject({ run: { status: "RUN_STATUS_SUCCEEDED", output: { hello: "world" } } });
  });

  test("calls over gRPC with buf curl", async () => {
    const [script = ""] = codeBlocks(readme, "sh").filter((each) => each.includes("buf curl"));
    const bin = join(root, "node_modules/.bin");
    expect(await bash(here(script).replace("npx buf", join(bin, "buf")))).toContain("RUN_STATUS_QUEUED");
  });

  test("shows a picture that needs nothing from elsewhere", async () => {
    const svg = await readFile(join(root, "docs/signalbox.svg"), "utf8");
    expect(readme).toContain("](docs/signalbox.svg)");
    expect(svg).not.toMatch(/<script|<foreignObject|<image|href=|@import|url\((?!#)/);
    expect(svg).toContain("prefers-color-scheme: dark");
  });
});

test.each([
  ["TypeScript", "ts", "ts"],
  ["Python", "python", "py"],
])("every %s block of the documents is a file of examples/, and each of these is shown", async (_name, block, end) => {
  const paths = await Array.fromAsync(glob(`examples/*.${end}`, { cwd: root }));
  const files = await Promise.all(paths.map((path) => readFile(join(root, path), "utf8")));
  const blocks = [...documents.values()].flatMap((text) => codeBlocks(text, block));
  expect(blocks.toSorted()).toEqual(files.toSorted());
});

test("the policy of docs/policy.md can be put, and its rules after that", async () => {
  const text = documents.get("docs/policy.md") ?? "";
  const [cedar = ""] = codeBlocks(text, "cedar");
  const [json = ""] = codeBlocks(text, "json");
  const { policy } = installation.client();
  const whole = fromJsonString(PolicySchema, json);
  const checked = [whole, { ...whole, cedar }].map((each) => policy.putPolicy({ policy: each, validateOnly: true }));
  await expect(Promise.all(checked)).resolves.toHaveLength(2);
});

test("the calls of docs/concepts.md are answered, those with a … for an id left out", async () => {
  const [define = "", ...scripts] = codeBlocks(documents.get("docs/concepts.md") ?? "", "sh");
  const calls = scripts.flatMap((script) => script.split("\n")).filter((line) => /^call [^…>]*$/.test(line));
  const answers = await Promise.all(
    calls.map(async (call) => {
      const answer = await bash(`${here(define)}\n${call.replace(/"minPosition":"\d+"/, '"minPosition":"1"')}`);
      return { call, ...(JSON.parse(answer) as { code?: string }) };
    }),
  );
  expect(answers.length).toBeGreaterThan(5);
  expect(answers.filter(({ code }) => code !== undefined)).toEqual([]);
});

test("the scripts of docs/artifacts.md store files and fetch them", async () => {
  await using folder = await temporaryFolder();
  await writeFile(join(folder.path, "big.bin"), Buffer.alloc(2_500_000, "b"));
  const scripts = codeBlocks(documents.get("docs/artifacts.md") ?? "", "sh").filter((each) => !each.includes("…"));
  const buf = JSON.stringify(join(root, "node_modules/.bin/buf"));
  const said = await bash(`cd "${folder.path}"\n${here(scripts.join("\n")).replaceAll("npx buf", buf)}`);
  expect(said.match(/"name": ?"(hello\.txt|big\.bin)"/g)).toHaveLength(4);
  expect(said).toContain('"sizeBytes":"2500000"');
  expect(said).toContain(`"data": "${btoa("hello\n")}"`);
  expect(said).toMatch(/\}\nhello\nellHTTP\/1.1 302 Found\r\n/);
});

test("the hash of an event verifies by hand as docs/concepts.md says", async () => {
  const [define = ""] = codeBlocks(documents.get("docs/concepts.md") ?? "", "sh");
  const [script = ""] = codeBlocks(documents.get("docs/concepts.md") ?? "", "sh").filter((each) =>
    each.includes("openssl"),
  );
  const client = installation.client();
  const { run, position } = await client.runs.createRun({ handler: "nobody" });
  const { events } = await client.events.listEvents({ filter: { runId: run?.runId ?? "" }, minPosition: position });
  const own = script.replace("…", events[0]?.eventId ?? "").replaceAll("event.json", '"$file"');
  const [byHand, recorded] = (await bash(`file=$(mktemp)\n${here(define)}\n${own}rm "$file"`)).split("\n");
  expect(byHand).toHaveLength(44);
  expect(byHand).toBe(recorded);
});

test.each([...documents])("links of %s lead somewhere", (path, text) => {
  const targets = [...text.matchAll(/\]\(([^)\s]+)\)/g)].map(([, target = ""]) => target);
  const own = targets.filter((target) => !/^https?:/.test(target));
  expect(own.filter((target) => !leadsSomewhere(path, target))).toEqual([]);
});

function leadsSomewhere(from: string, target: string): boolean {
  const [file = "", anchor] = target.split("#");
  const linked = file === "" ? from : normalize(join(dirname(from), file));
  if (!existsSync(join(root, linked))) return false;
  return anchor === undefined || anchors(documents.get(linked) ?? "").includes(anchor);
}

/** What GitHub makes of the headings. */
function anchors(text: string): string[] {
  return [...text.matchAll(/^#+ (.*)$/gm)].map(([, heading = ""]) =>
    heading
      .toLowerCase()
      .replace(/[^\w\- ]/g, "")
      .replaceAll(" ", "-"),
  );
}

test.each([...documents])("commands that %s names exist", async (_path, text) => {
  const named = [...text.matchAll(/(?:npm run signalbox --|`signalbox|^signalbox) ((?:[a-z]+(?:-[a-z]+)* ?)+)/gm)];
  const commands = [...new Set(named.map(([, words = ""]) => words.trim()))];
  const known = await Promise.all(commands.map(isCommand));
  expect(commands.filter((_command, index) => !known[index])).toEqual([]);
});

/** True when the first of the words, with what follows as far as that is a command below it, is one. */
async function isCommand(text: string): Promise<boolean> {
  const words = text.split(" ").slice(0, 2);
  const { output, stdout } = createTestOutput({ json: false });
  await runProgram([...words, "--help"], { env: {}, output, signal: new AbortController().signal });
  return stdout.text().startsWith(`Usage: signalbox ${words[0]}`);
}
