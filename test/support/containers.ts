import { readFile } from "node:fs/promises";
import { parse } from "yaml";

/** Addresses of servers that are there already. */
export interface Given {
  readonly natsUrl: string | undefined;
  readonly databaseUrl: string | undefined;
}

/** A NATS and a Postgres in containers, of the images that docker-compose.yml names; those given are taken as they are. */
export async function openContainers({ natsUrl, databaseUrl }: Given) {
  // Loaded here: most runs need no containers, and the library takes its time.
  const { GenericContainer, Wait } = await import("testcontainers");
  await using opening = new AsyncDisposableStack();
  const images = await readImages();

  async function openNats(): Promise<string> {
    const container = await new GenericContainer(images.nats)
      .withCopyContentToContainer([
        { content: "jetstream {}\nmax_payload: 8MB\n", target: "/etc/nats/nats-server.conf" },
      ])
      .withExposedPorts(4222)
      .withWaitStrategy(Wait.forLogMessage("Server is ready"))
      .start();
    opening.defer(async () => void (await container.stop()));
    return `nats://${container.getHost()}:${container.getMappedPort(4222)}`;
  }

  async function openPostgres(): Promise<string> {
    const container = await new GenericContainer(images.postgres)
      .withEnvironment({ POSTGRES_PASSWORD: "signalbox" })
      .withExposedPorts(5432)
      // The image starts once to make the database and then again for good.
      .withWaitStrategy(Wait.forLogMessage("database system is ready to accept connections", 2))
      .start();
    opening.defer(async () => void (await container.stop()));
    return `postgres://postgres:signalbox@${container.getHost()}:${container.getMappedPort(5432)}/postgres`;
  }

  const urls = { natsUrl: natsUrl ?? (await openNats()), databaseUrl: databaseUrl ?? (await openPostgres()) };
  const open = opening.move();
  return { ...urls, [Symbol.asyncDispose]: () => open.disposeAsync() };
}

async function readImages(): Promise<{ nats: string; postgres: string }> {
  const file = new URL("../../docker-compose.yml", import.meta.url);
  const images = new Set<string>();
  parse(await readFile(file, "utf8"), (key, value: unknown) => {
    if (key === "image" && typeof value === "string") images.add(value);
    return value;
  });
  const find = (name: string): string => {
    const image = [...images].find((candidate) => candidate.startsWith(`${name}:`));
    if (image === undefined) throw new Error(`docker-compose.yml names no image of ${name}`);
    return image;
  };
  return { nats: find("nats"), postgres: find("postgres") };
}
