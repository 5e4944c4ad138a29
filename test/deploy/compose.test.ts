import { readFile } from "node:fs/promises";
import { describe, expect, test } from "vitest";
import { parse } from "yaml";

interface Service {
  image: string;
  build?: string;
  command?: string[];
  ports?: string[];
  volumes?: string[];
  networks: string[];
  environment?: Record<string, string>;
  depends_on?: Record<string, { condition: string }>;
  healthcheck?: { test: string[] };
}

const file = await readFile("docker-compose.yml", "utf8");
const compose = parse(file, { merge: true }) as {
  services: Record<string, Service>;
  networks: Record<string, { internal?: boolean }>;
  volumes: Record<string, object>;
};
const services = Object.entries(compose.services);
const ours = services.filter(([, { build }]) => build !== undefined);
const nats = services.filter(([name]) => name.startsWith("nats-"));
const secrets = services.flatMap(([name, { environment = {} }]) =>
  Object.entries(environment)
    .filter(([variable]) => /TOKEN|SECRET|PASSWORD|ROOT_KEY|DATABASE_URL/.test(variable))
    .map(([variable, value]) => [`${name} ${variable}`, value]),
);

function service(name: string): Service {
  const found = compose.services[name];
  if (found === undefined) throw new Error(`docker-compose.yml has no service ${name}`);
  return found;
}

describe("docker-compose.yml", () => {
  test("has three brokers, a database, and each role in a process of its own", () => {
    const names = services.map(([name]) => name).join(" ");
    expect(names).toBe("nats-1 nats-2 nats-3 postgres migrate server projector worker");
    expect(service("server").command).toEqual(["serve", "--roles", "server"]);
    expect(service("projector").command).toEqual(["serve", "--roles", "projector,reactors"]);
  });

  test.each(services)("%s runs an image of a named version", (_name, { image }) => {
    expect(image).toMatch(/^[a-z]+:\d[\w.-]*$/);
  });

  test("builds every role from the one Dockerfile", () => {
    expect(ours.map(([name]) => name)).toEqual(["migrate", "server", "projector", "worker"]);
    expect(new Set(ours.map(([, { build, image }]) => `${build} ${image}`)).size).toBe(1);
  });

  test("publishes the server's port to this machine only, and no other", () => {
    const published = services.flatMap(([name, { ports = [] }]) => ports.map((port) => `${name} ${port}`));
    expect(published).toEqual([expect.stringMatching(/^server 127\.0\.0\.1:/)]);
  });

  test.each(secrets)("takes %s from the environment, and says when it is missing", (_name, value) => {
    expect(value).toMatch(/\$\{[A-Z_]+:\?set [A-Z_]+, [^}]+\}/);
  });

  test("asks for a token and replicated events wherever it listens beyond loopback", () => {
    for (const name of ["server", "projector"]) {
      expect(service(name).environment).toMatchObject({
        SIGNALBOX_HOST: "0.0.0.0",
        SIGNALBOX_AUTH: "static_token",
        SIGNALBOX_DURABILITY: "replicated",
      });
    }
  });

  test("keeps artifacts where every server reaches them, under one root key", () => {
    const stores = ["server", "projector"].map((name) => service(name).environment ?? {});
    expect(stores.map(({ SIGNALBOX_ARTIFACT_STORE }) => SIGNALBOX_ARTIFACT_STORE)).toEqual(["nats", "nats"]);
    expect(new Set(stores.map(({ SIGNALBOX_ROOT_KEY }) => SIGNALBOX_ROOT_KEY)).size).toBe(1);
  });

  test("keeps the brokers and the database on a network that nothing outside reaches", () => {
    expect(compose.networks["store"]).toEqual({ internal: true });
    const stores = [...nats.map(([, broker]) => broker), service("postgres")];
    expect(stores.map(({ networks }) => networks)).toEqual([["store"], ["store"], ["store"], ["store"]]);
  });

  test("gives a worker the public contract and nothing else", () => {
    expect(Object.keys(service("worker").environment ?? {})).toEqual(["SIGNALBOX_URL", "SIGNALBOX_TOKEN"]);
    expect(service("worker").networks).toEqual(["edge"]);
  });

  test.each(["server", "projector"])("%s waits until the stores are healthy and migrated", (name) => {
    expect(service(name).depends_on).toEqual({
      "nats-1": { condition: "service_healthy" },
      "nats-2": { condition: "service_healthy" },
      "nats-3": { condition: "service_healthy" },
      postgres: { condition: "service_healthy" },
      migrate: { condition: "service_completed_successfully" },
    });
  });

  test.each(["nats-1", "nats-2", "nats-3", "postgres", "server"])("%s can say whether it is healthy", (name) => {
    expect(service(name).healthcheck?.test[0]).toBe("CMD");
  });

  test.each(nats)("%s has a name and a volume of its own", (name, { command, volumes }) => {
    expect(command?.at(-1)).toBe(name);
    expect(volumes).toContain(`${name}:/data`);
    expect(compose.volumes).toHaveProperty(name);
  });
});

describe("deploy/nats.conf", () => {
  test("writes to disk before it acknowledges, and routes to every node", async () => {
    const config = await readFile("deploy/nats.conf", "utf8");
    expect(config).toMatch(/^\s*sync_interval: always$/m);
    expect(config).toMatch(/^\s*store_dir: \/data$/m);
    for (const [name] of nats) expect(config).toContain(`nats://${name}:6222`);
  });
});

describe("Dockerfile", () => {
  test("names its base by version and does not run as root", async () => {
    const dockerfile = await readFile("Dockerfile", "utf8");
    expect(dockerfile).toMatch(/^FROM node:\d[\w.-]*$/m);
    expect(dockerfile).toMatch(/^USER node$/m);
  });
});
