import { createConnectTransport } from "@connectrpc/connect-web";
import { createSignalboxClient, uploadArtifact } from "../../../src/client/browser.ts";
import { baseUrl, show } from "./elements.ts";

// A page that stores a file in chunks, reads it back, and reads it once more by a link, of which it asks a part.

const client = createSignalboxClient({ transport: createConnectTransport({ baseUrl }), workspaceId: "ws_files" });

/** The same on the page and in the test. */
const bytes = Uint8Array.from({ length: 2_500_000 }, (_, index) => (index * index) % 251);

async function digest(content: Uint8Array<ArrayBuffer>): Promise<string> {
  const hash = new Uint8Array(await crypto.subtle.digest("SHA-256", content));
  return Array.from(hash, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

try {
  const artifact = await uploadArtifact(client, new Blob([bytes]), { name: "grüße.bin", contentType: "text/html" });
  const { artifactId } = artifact;
  show("stored", artifactId);
  const pieces: Uint8Array<ArrayBuffer>[] = [];
  for await (const { frame } of client.artifacts.downloadArtifact({ artifactId })) {
    if (frame.case === "data") pieces.push(new Uint8Array(frame.value));
  }
  show("downloaded", await digest(new Uint8Array(await new Blob(pieces).arrayBuffer())));
  const { url } = await client.artifacts.createDownloadUrl({ artifactId });
  const whole = await fetch(url);
  show("linked", await digest(new Uint8Array(await whole.arrayBuffer())));
  show("type", whole.headers.get("content-type") ?? "");
  const part = await fetch(url, { headers: { range: "bytes=2400000-" } });
  show("part", `${part.status} ${part.headers.get("content-range")} ${(await part.arrayBuffer()).byteLength}`);
  show("link", url);
} catch (error) {
  show("error", String(error));
}
