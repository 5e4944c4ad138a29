import { createPrivateKey, createPublicKey, type KeyObject, sign } from "node:crypto";
import { readFile } from "node:fs/promises";
import { toJson } from "@bufbuild/protobuf";
import {
  AnswerAccessChallengeResponseSchema,
  CreateAccessChallengeResponseSchema,
} from "../../../gen/signalbox/v1/artifact_service_pb.ts";
import type { SignalboxClient } from "../../client/client.ts";
import { type ExitCode, exitCodes, usageError } from "../cli-error.ts";
import type { Cli } from "../cli.ts";
import type { ProveOptions } from "../commands/artifact-sharing.ts";
import { granteeOf } from "./artifact-sharing.ts";
import { openClient } from "./client.ts";

/** `signalbox artifacts prove`: signs and answers a challenge, or prints one, or answers one that was signed elsewhere. */
export async function prove(cli: Cli, artifactId: string | undefined, options: ProveOptions): Promise<ExitCode> {
  const { ed25519Key, grantee, challenge, signature } = options;
  using client = openClient(cli);
  if (challenge !== undefined && signature !== undefined && artifactId === undefined) {
    return await answer(cli, client, await readText("--challenge", challenge), signature);
  }
  if (artifactId !== undefined && ed25519Key !== undefined && (grantee ?? challenge ?? signature) === undefined) {
    return await proveKey(cli, client, artifactId, await readKey(ed25519Key));
  }
  if (artifactId !== undefined && grantee !== undefined && (ed25519Key ?? challenge ?? signature) === undefined) {
    return await printChallenge(cli, client, artifactId, grantee);
  }
  throw usageError(
    "give an artifact with --ed25519-key or --grantee, or --challenge with --signature",
    "signalbox artifacts prove --help shows each of them.",
  );
}

async function proveKey(cli: Cli, client: SignalboxClient, artifactId: string, key: KeyObject): Promise<ExitCode> {
  const { x = "" } = createPublicKey(key).export({ format: "jwk" });
  const value = Buffer.from(x, "base64url").toString("hex");
  const request = { artifactId, grantee: { who: { case: "ed25519PublicKey", value } } } as const;
  const { challenge } = await client.artifacts.createAccessChallenge(request, { signal: cli.signal });
  return answer(cli, client, challenge, sign(null, Buffer.from(challenge), key).toString("hex"));
}

async function printChallenge(cli: Cli, client: SignalboxClient, artifactId: string, name: string): Promise<ExitCode> {
  const { output, signal } = cli;
  const request = { artifactId, grantee: granteeOf(name) };
  const response = await client.artifacts.createAccessChallenge(request, { signal });
  if (output.json) output.show(toJson(CreateAccessChallengeResponseSchema, response), "");
  // As it is, to the byte: it is what is signed.
  else await output.raw(Buffer.from(response.challenge));
  return exitCodes.ok;
}

async function answer(
  { output, signal }: Cli,
  client: SignalboxClient,
  challenge: string,
  signature: string,
): Promise<ExitCode> {
  const response = await client.artifacts.answerAccessChallenge({ challenge, signature }, { signal });
  output.show(toJson(AnswerAccessChallengeResponseSchema, response), response.url);
  return exitCodes.ok;
}

/** What stands before the 32 bytes of an Ed25519 private key in PKCS #8 (RFC 8410). */
const pkcs8Prefix = Buffer.from("302e020100300506032b657004220420", "hex");

async function readKey(path: string): Promise<KeyObject> {
  const text = (await readText("--ed25519-key", path)).trim();
  try {
    const key = /^[0-9a-fA-F]{64}$/.test(text)
      ? createPrivateKey({
          key: Buffer.concat([pkcs8Prefix, Buffer.from(text, "hex")]),
          format: "der",
          type: "pkcs8",
        })
      : createPrivateKey(text);
    if (key.asymmetricKeyType === "ed25519") return key;
  } catch {
    // Said below: what the parser has to say helps nobody.
  }
  const hint = "Give a PEM file as `openssl genpkey -algorithm ed25519` writes it, or 64 hex digits.";
  throw usageError(`${path} holds no Ed25519 private key`, hint);
}

async function readText(option: string, path: string): Promise<string> {
  try {
    return await readFile(path, "utf8");
  } catch (error) {
    const cause = error instanceof Error ? error.message : String(error);
    throw usageError(`${option} can not be read: ${cause}`, "Give the path of a readable file.");
  }
}
