import type { Socket } from "node:net";
import S3rver from "s3rver";
import type { S3Bucket } from "../../src/blobs/s3-requests.ts";
import { temporaryFolder } from "../stack/folder.ts";

/** An S3-compatible server with an empty bucket, in this process. */
export interface S3Server extends AsyncDisposable {
  readonly bucket: S3Bucket;
  /** `GET /bucket/key?query` of every request so far. */
  readonly requests: readonly string[];
  /** Answers that are on their way. */
  underWay(): number;
  /** How many bytes of answers were given to the network so far. */
  sentBytes(): number;
  /** Stops it; nothing listens on its port any more. */
  stop(): Promise<void>;
}

/** Starts one on a free port. */
export async function openS3Server(): Promise<S3Server> {
  await using opening = new AsyncDisposableStack();
  const { path: directory } = opening.use(await temporaryFolder());
  const server = new S3rver({
    address: "127.0.0.1",
    port: 0,
    silent: true,
    directory,
    vhostBuckets: false,
    configureBuckets: [{ name: "artifacts" }],
  });
  const { port } = await server.run();
  const requests: string[] = [];
  const sockets = new Set<Socket>();
  let underWay = 0;
  server.httpServer.on("connection", (socket: Socket) => sockets.add(socket));
  server.httpServer.prependListener("request", ({ method, url }, response) => {
    requests.push(`${method} ${url}`);
    underWay++;
    response.on("close", () => underWay--);
  });
  let stopped: Promise<void> | undefined;
  const stop = () => {
    stopped ??= server.close();
    server.httpServer.closeAllConnections();
    return stopped;
  };
  opening.defer(stop);
  const open = opening.move();
  return {
    bucket: {
      endpoint: `http://127.0.0.1:${port}`,
      bucket: "artifacts",
      region: "us-east-1",
      accessKeyId: "S3RVER",
      secretAccessKey: "S3RVER",
    },
    requests,
    underWay: () => underWay,
    sentBytes: () => [...sockets].reduce((sum, socket) => sum + socket.bytesWritten, 0),
    stop,
    [Symbol.asyncDispose]: () => open.disposeAsync(),
  };
}
