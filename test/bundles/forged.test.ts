import { createHash } from "node:crypto";
import { deflateRawSync } from "node:zlib";
import { beforeAll, expect, test } from "vitest";
import { eventLine, readEventLine } from "../../src/bundles/event-line.ts";
import type { Manifest } from "../../src/bundles/manifest.ts";
import { zip } from "../../src/bundles/zip.ts";
import { chainHash, encodeBody, EventRecord, genesisHash } from "../../src/eventlog/record.ts";
import { createEndedRun, filesOf, verdict, verifyBytes } from "./memory-bundles.ts";

const first = "artifacts/art_00000000000000000000000001/report.txt";

let bundle: Buffer;
beforeAll(async () => {
  bundle = await (await createEndedRun()).bytes();
});

/** A zip as our own writer makes it. */
async function zipped(files: Iterable<readonly [string, string]>): Promise<Buffer> {
  async function* entries() {
    for (const [path, text] of files) yield { path, bytes: bytesOf(text) };
  }
  return Buffer.concat(await Array.fromAsync(zip(entries())));
}

async function* bytesOf(text: string) {
  yield Promise.resolve(Buffer.from(text));
}

interface Forgery {
  readonly files: Map<string, string>;
  readonly manifest: Manifest;
}

/** The bundle with files changed by somebody who knows the format: sizes and hashes in the manifest are made to fit. */
async function forged(change: (forgery: Forgery) => void): Promise<Buffer> {
  const files = await filesOf(bundle);
  const manifest = JSON.parse(files.get("manifest.json") ?? "") as Manifest;
  files.delete("manifest.json");
  change({ files, manifest });
  manifest.files = [...files].map(([path, text]) => {
    const sha256 = createHash("sha256").update(text).digest("hex");
    return { path, sizeBytes: String(Buffer.byteLength(text)), sha256 };
  });
  files.set("manifest.json", `${JSON.stringify(manifest, undefined, 2)}\n`);
  return zipped(files);
}

/** The bundle with other lines of events. */
function withLines(change: (lines: string[]) => string[]): Promise<Buffer> {
  return forged(({ files }) => {
    const lines = (files.get("events.jsonl") ?? "").trimEnd().split("\n");
    files.set(
      "events.jsonl",
      change(lines)
        .map((line) => `${line}\n`)
        .join(""),
    );
  });
}

const replaced = (text: string, from: string, to: string) => {
  expect(text).toContain(from);
  return text.replace(from, to);
};

test("a forgery in which nothing is changed fits", async () => {
  expect((await forged(() => {})).equals(bundle)).toBe(true);
});

test.each<[string, RegExp, () => Promise<Buffer>]>([
  [
    "another run.json",
    /^run: run\.json: /,
    () => forged(({ files }) => files.set("run.json", replaced(files.get("run.json") ?? "", "CANCELED", "SUCCESS."))),
  ],
  [
    "run.json in another form",
    /^run: run\.json: /,
    () => forged(({ files }) => files.set("run.json", JSON.stringify(JSON.parse(files.get("run.json") ?? "")))),
  ],
  [
    "another readable form",
    /^event: events\.jsonl, line 7: the readable form/,
    () => withLines((lines) => lines.with(6, replaced(lines[6] ?? "", '"reason":"enough"', '"reason":"done"'))),
  ],
  [
    "another event without its hash",
    /^event: events\.jsonl, line 2: the hash is not that/,
    () =>
      withLines((lines) => {
        const record = readEventLine(Buffer.from(lines[1] ?? ""));
        const body = Buffer.from(record.body);
        body.write("?", body.length - 1);
        return lines.with(
          1,
          Buffer.from(eventLine(new EventRecord({ ...stored(record), body })))
            .toString()
            .trimEnd(),
        );
      }),
  ],
  ["an event left out", /^event: events\.jsonl, line 3: .*chain/, () => withLines((lines) => lines.toSpliced(2, 1))],
  [
    "two events swapped",
    /^event: events\.jsonl, line 2: /,
    () => withLines(([a, b, c, ...rest]) => [a, c, b, ...rest] as string[]),
  ],
  ["the first event left out", /^event: events\.jsonl, line 1: /, () => withLines((lines) => lines.slice(1))],
  ["the last event left out", /^manifest: .*says 7 events/, () => withLines((lines) => lines.slice(0, -1))],
  ["no events", /^event: events\.jsonl: there is no event/, () => withLines(() => [])],
  ["text among the events", /^event: events\.jsonl, line 8: /, () => withLines((lines) => [...lines, "and so on"])],
  [
    "another artifact",
    /^artifact: .*report\.txt: the file has 5 bytes/,
    () => forged(({ files }) => files.set(first, "other")),
  ],
  [
    "an artifact without its file",
    /^artifact: .*report\.txt: .*not in their place/,
    () => forged(({ files }) => files.delete(first)),
  ],
  ["a file too many", /^artifact: artifacts\/x: /, () => forged(({ files }) => files.set("artifacts/x", "y"))],
  [
    "artifacts in another order",
    /^artifact: /,
    () =>
      forged(({ files }) => {
        const text = files.get(first) ?? "";
        files.delete(first);
        files.set(first, text);
      }),
  ],
  [
    "an artifact that the manifest does not know",
    /^manifest: .*what became of artifact/,
    () => forged(({ manifest }) => manifest.artifacts.pop()),
  ],
  [
    "another name of an artifact",
    /^manifest: manifest\.json: the manifest says more or other things/,
    () => forged(({ manifest }) => Object.assign(manifest.artifacts[0] ?? {}, { name: "invoice.txt" })),
  ],
  [
    "more in the manifest than there is to say",
    /^manifest: manifest\.json: this is no manifest/,
    () => forged(({ manifest }) => Object.assign(manifest, { note: "trust me" })),
  ],
  [
    "a bundle of a format to come",
    /^manifest: .*newer/,
    () => forged(({ manifest }) => Object.assign(manifest, { format: "signalbox-bundle-v9" })),
  ],
  [
    "another workspace",
    /^event: events\.jsonl, line 1: this is no event of run/,
    () => forged(({ manifest }) => Object.assign(manifest, { workspaceId: "ws_mine" })),
  ],
])("%s is named", async (_what, said, forgery) => {
  expect(await verdict(verifyBytes(await forgery()))).toMatch(said);
});

function stored({ position, subject, prevHash, hash, body }: EventRecord) {
  return { position, subject, prevHash, hash, body };
}

/** The bundle with a history that somebody has made anew, from the first event on: another reason to cancel. */
function rewritten(): Promise<Buffer> {
  return forged(({ files, manifest }) => {
    let prevHash = genesisHash;
    const lines = (files.get("events.jsonl") ?? "")
      .trimEnd()
      .split("\n")
      .map((line) => {
        const record = readEventLine(Buffer.from(line));
        const { event } = record;
        if (event.payload.case === "runCanceled") event.payload.value.reason = "as agreed";
        const body = encodeBody(event);
        const hash = chainHash(prevHash, body);
        const text = Buffer.from(eventLine(new EventRecord({ ...stored(record), body, prevHash, hash }))).toString();
        prevHash = hash;
        return text;
      });
    files.set("events.jsonl", lines.join(""));
    manifest.headHash = Buffer.from(prevHash).toString("hex");
  });
}

test("a forgery of everything fits by itself: only the head hash from elsewhere tells it apart", async () => {
  const { headHash } = await verifyBytes(bundle);
  const forgery = await rewritten();
  expect(await verifyBytes(forgery)).toMatchObject({ eventCount: 7, isPinned: false });
  expect(await verdict(verifyBytes(forgery, { head: headHash }))).toMatch(/^head: /);
  expect(await verdict(verifyBytes(bundle, { head: headHash }))).toBe("fits");
});

/** The bundle with one field of every header of the directory changed. */
function withDirectory(change: (zipBytes: Buffer, header: number) => void): Buffer {
  const bytes = Buffer.from(bundle);
  for (let at = bytes.indexOf("PK\u0001\u0002"); at >= 0; at = bytes.indexOf("PK\u0001\u0002", at + 4))
    change(bytes, at);
  return bytes;
}

test.each<[string, RegExp, () => Promise<Buffer> | Buffer]>([
  ["names that lead up", /^zip: .*invalid relative path/, () => zipped([["../../etc/cron.d/x", "x"]])],
  ["names from the root", /^zip: .*absolute path/, () => zipped([["/etc/passwd", "x"]])],
  ["names with a drive", /^zip: .*absolute path/, () => zipped([["C:/x", "x"]])],
  ["names with backslashes", /^zip: .*invalid characters/, () => zipped([["a\\..\\b", "x"]])],
  ["endless names", /^zip: .*no bundle has/, () => zipped([["a".repeat(60_000), "x"]])],
  [
    "two files of one name",
    /^zip: run\.json: .*two files/,
    () =>
      zipped([
        ["run.json", "x"],
        ["run.json", "y"],
      ]),
  ],
  [
    "other files",
    /^zip: run\.json: .*not in its place/,
    () =>
      zipped([
        ["a", "x"],
        ["b", "y"],
      ]),
  ],
  ["a run alone", /^zip: events\.jsonl: /, () => zipped([["run.json", "{}"]])],
  [
    "10,004 files",
    /^zip: directory: the zip has 10004 files/,
    () => zipped(Array.from({ length: 10_004 }, (_, i) => [`f${i}`, ""])),
  ],
  ["packed files", /^zip: run\.json: .*packed/, () => withDirectory((bytes, at) => bytes.writeUInt16LE(8, at + 10))],
  [
    "encrypted files",
    /^zip: /,
    () => withDirectory((bytes, at) => bytes.writeUInt16LE(bytes.readUInt16LE(at + 8) | 1, at + 8)),
  ],
  [
    "files that claim 4 GiB each",
    /^zip: run\.json: .*larger than the zip itself/,
    () =>
      withDirectory((bytes, at) => {
        bytes.writeUInt32LE(0xfffffffe, at + 20);
        bytes.writeUInt32LE(0xfffffffe, at + 24);
      }),
  ],
  [
    "files that are all the same bytes",
    /^(zip|event|manifest): /,
    () => withDirectory((bytes, at) => bytes.writeUInt32LE(0, at + 42)),
  ],
  [
    "files that are links",
    /^container: .*directory/,
    () => withDirectory((bytes, at) => bytes.writeUInt32LE(0xa1ff0000, at + 38)),
  ],
  ["a directory beyond the end", /^zip: .*beyond its own end/, () => bigDirectory(2 ** 50)],
  ["a directory beyond all numbers", /^zip: .*beyond its own end/, () => bigDirectory(Number.MAX_VALUE)],
  [
    "a manifest of noise",
    /^manifest: /,
    () =>
      zipped([
        ["run.json", ""],
        ["events.jsonl", ""],
        ["manifest.json", "\u0000"],
      ]),
  ],
  ["a bomb", /^zip: /, () => bomb()],
])("%s are refused", async (_what, said, bytes) => {
  expect(await verdict(verifyBytes(await bytes()))).toMatch(said);
});

/** A zip64 whose directory stands at an offset of 64 bits. */
function bigDirectory(offset: number): Buffer {
  const record = Buffer.alloc(56);
  record.writeUInt32LE(0x06064b50, 0);
  record.writeBigUInt64LE(44n, 4);
  record.writeBigUInt64LE(1n, 32);
  record.writeBigUInt64LE(offset > 2 ** 64 ? 2n ** 64n - 1n : BigInt(offset), 48);
  const locator = Buffer.alloc(20);
  locator.writeUInt32LE(0x07064b50, 0);
  const end = Buffer.alloc(22);
  end.writeUInt32LE(0x06054b50, 0);
  return Buffer.concat([record, locator, end]);
}

/** A deflated file of 256 MiB in a few hundred KiB. */
function bomb(): Buffer {
  const packed = deflateRawSync(Buffer.alloc(256 * 1024 * 1024));
  const name = Buffer.from("run.json");
  const local = Buffer.alloc(30);
  local.writeUInt32LE(0x04034b50, 0);
  local.writeUInt16LE(8, 8);
  local.writeUInt16LE(name.length, 26);
  const header = Buffer.alloc(46);
  header.writeUInt32LE(0x02014b50, 0);
  header.writeUInt16LE(8, 10);
  header.writeUInt32LE(packed.length, 20);
  header.writeUInt32LE(256 * 1024 * 1024, 24);
  header.writeUInt16LE(name.length, 28);
  const end = Buffer.alloc(22);
  end.writeUInt32LE(0x06054b50, 0);
  end.writeUInt16LE(1, 8);
  end.writeUInt16LE(1, 10);
  end.writeUInt32LE(local.length + name.length + packed.length, 16);
  return Buffer.concat([local, name, packed, header, name, end]);
}
