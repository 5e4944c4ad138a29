import { type Command, InvalidArgumentError } from "commander";
import type { Act } from "../cli.ts";
import { choicesOption, countOption, durationOption } from "../option-values.ts";

/** How a wish for an artifact's bytes may end, as people type it. */
export const accessOutcomes = ["granted", "refused", "not_found", "gone", "rate_limited"] as const;

/** Options of `artifacts grant` and `link`. */
export interface ExpiringOptions {
  /** Milliseconds. */
  readonly expiresIn?: number;
}

/** Options of `artifacts access`. */
export interface ListAccessOptions {
  readonly run?: string;
  readonly outcome?: readonly (typeof accessOutcomes)[number][];
  readonly limit: number;
}

/** Options of `artifacts prove`. */
export interface ProveOptions {
  /** The path of a file with a private key. */
  readonly ed25519Key?: string;
  /** `ed25519:…` or `0x…`. */
  readonly grantee?: string;
  /** The path of a file with the text that was signed. */
  readonly challenge?: string;
  readonly signature?: string;
}

/** Adds `grant`, `revoke`, `grants`, `link`, `unlink`, `access` and `prove`. */
export function addSharing(artifacts: Command, act: Act): void {
  addGrants(artifacts, act);
  addLinks(artifacts, act);
  addProving(artifacts, act);
  artifacts
    .command("access [artifact-id]")
    .description("show the access log, newest first: who wanted bytes, and whether they got them")
    .option("--run <run-id>", "only accesses to artifacts of this run")
    .option("--outcome <outcomes>", `only some of ${accessOutcomes.join(", ")}`, choicesOption(accessOutcomes))
    .option("--limit <count>", "how many at most", countOption, 50)
    .addHelpText(
      "after",
      `
Examples:
  $ signalbox artifacts access art_01J…
  $ signalbox artifacts access --outcome refused,not_found --json`,
    )
    .action((artifactId: string | undefined, options: ListAccessOptions) =>
      act(async (cli) => (await import("../actions/artifact-sharing.ts")).listAccess(cli, artifactId, options)),
    );
}

function addGrants(artifacts: Command, act: Act): void {
  artifacts
    .command("grant <artifact-id>")
    .description("let somebody else read an artifact; its owner's right")
    .argument("<grantee>", "user:alice, role:auditor, ed25519:<64 hex digits> or a wallet address 0x…", granteeArgument)
    .option("--expires-in <duration>", "until when (default: as long as the artifact is there)", durationOption)
    .addHelpText(
      "after",
      `
Users, agents, services and roles prove themselves by their credential, keys and wallets by a signature (signalbox artifacts prove).

Examples:
  $ signalbox artifacts grant art_01J… user:alice --expires-in 2d
  $ signalbox artifacts grant art_01J… ed25519:d75a98…
  $ signalbox artifacts grant art_01J… 0x52908400098527886E0F7030069857D2E4169EE7`,
    )
    .action((artifactId: string, grantee: string, options: ExpiringOptions) =>
      act(async (cli) => (await import("../actions/artifact-sharing.ts")).grant(cli, artifactId, grantee, options)),
    );
  artifacts
    .command("revoke <artifact-id> <grant-id>")
    .description("take a grant back; its owner's right")
    .addHelpText("after", "\nExamples:\n  $ signalbox artifacts revoke art_01J… grant_01J…")
    .action((artifactId: string, grantId: string) =>
      act(async (cli) => (await import("../actions/artifact-sharing.ts")).revoke(cli, artifactId, grantId)),
    );
  artifacts
    .command("grants <artifact-id>")
    .description("list an artifact's grants and links, those that hold no more included")
    .addHelpText("after", "\nExamples:\n  $ signalbox artifacts grants art_01J…")
    .action((artifactId: string) =>
      act(async (cli) => (await import("../actions/artifact-sharing.ts")).listGrants(cli, artifactId)),
    );
}

function addLinks(artifacts: Command, act: Act): void {
  artifacts
    .command("link <artifact-id>")
    .description("make a link with which whoever has it can download an artifact")
    .option("--expires-in <duration>", "how long it can be used, up to 7d (default: 1h)", durationOption)
    .addHelpText(
      "after",
      `
The link is shown once: what is on record does not say it.

Examples:
  $ signalbox artifacts link art_01J… --expires-in 1d
  $ curl --location --remote-header-name --remote-name "$(signalbox artifacts link art_01J…)"`,
    )
    .action((artifactId: string, options: ExpiringOptions) =>
      act(async (cli) => (await import("../actions/artifact-sharing.ts")).link(cli, artifactId, options)),
    );
  artifacts
    .command("unlink <artifact-id> <link-id>")
    .description("take a link back, and with it every URL that came from it")
    .addHelpText("after", "\nExamples:\n  $ signalbox artifacts unlink art_01J… link_01J…")
    .action((artifactId: string, linkId: string) =>
      act(async (cli) => (await import("../actions/artifact-sharing.ts")).unlink(cli, artifactId, linkId)),
    );
}

function addProving(artifacts: Command, act: Act): void {
  artifacts
    .command("prove [artifact-id]")
    .description("prove by a signature that an artifact was granted to you, and get a URL for a few minutes")
    .option("--ed25519-key <file>", "sign with this private key: PEM of PKCS #8, or 64 hex digits")
    .option("--grantee <key>", "print the text for this key to sign: ed25519:… or 0x…", granteeArgument)
    .option("--challenge <file>", "the text that was signed, with --signature")
    .option("--signature <hex>", "the signature, in hex")
    .addHelpText(
      "after",
      `
Needs no token. A challenge is good for 5 minutes and one answer; the private key stays on this machine.

Examples:
  $ openssl genpkey -algorithm ed25519 -out key.pem
  $ signalbox artifacts prove art_01J… --ed25519-key key.pem
  $ signalbox artifacts prove art_01J… --grantee 0x5290… > challenge.txt
  $ signalbox artifacts prove --challenge challenge.txt --signature 0x…`,
    )
    .action((artifactId: string | undefined, options: ProveOptions) =>
      act(async (cli) => (await import("../actions/prove.ts")).prove(cli, artifactId, options)),
    );
}

const granteePattern =
  /^((user|agent|service|role):[!-~]{1,200}|ed25519:[0-9a-fA-F]{64}|(ethereum:)?0x[0-9a-fA-F]{40})$/;

function granteeArgument(text: string): string {
  if (granteePattern.test(text)) return text;
  throw new InvalidArgumentError("Give user:alice, role:auditor, ed25519: and 64 hex digits, or 0x and 40.");
}
