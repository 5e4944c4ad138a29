import { createSignalboxClient, downloadArtifact, uploadArtifact } from "signalbox/client";

using client = createSignalboxClient({ baseUrl: process.env["SIGNALBOX_URL"] ?? "http://127.0.0.1:8080" });
const report = new TextEncoder().encode("# All is well\n");
const spec = { name: "report.md", contentType: "text/markdown", labels: { week: "47" } };
const { artifactId, position } = await uploadArtifact(client, report, spec);

const { artifacts } = await client.artifacts.listArtifacts({ name: "report.md", minPosition: position });
for (const { name, sizeBytes, sha256 } of artifacts) console.log(name, sizeBytes, sha256);

for await (const piece of downloadArtifact(client, artifactId)) process.stdout.write(piece);

const { url } = await client.artifacts.createDownloadUrl({ artifactId, expiresIn: { seconds: 600n } });
console.log(url);
