import type { DescService, MessageInitShape } from "@bufbuild/protobuf";
import { Code, ConnectError, type ConnectRouter, type HandlerContext } from "@connectrpc/connect";
import {
  type HealthCheckRequest,
  type HealthCheckResponseSchema,
  HealthCheckResponse_ServingStatus as ServingStatus,
  Health,
} from "../../gen/health/v1/health_pb.ts";
import { sleep } from "../kernel/wait.ts";
import { drainingError } from "./draining.ts";
import type { CheckReadiness } from "./readiness.ts";

/** What the health service is made of. */
export interface HealthOptions {
  /** The services it knows, besides `""` for the whole server. */
  readonly services: readonly DescService[];
  readonly readiness: CheckReadiness;
  /** Once aborted everything is NOT_SERVING, and watches end after having said so. */
  readonly draining: AbortSignal;
}

const watchIntervalMs = 1_000;

/**
 * Routes of grpc.health.v1.Health (gRPC health checking protocol). All services of a server stand on the same parts, so
 * they share one status. Check of an unknown service is NOT_FOUND, Watch of one says SERVICE_UNKNOWN and stays open.
 */
export function healthRoutes({ services, readiness, draining }: HealthOptions): (router: ConnectRouter) => void {
  const names = new Set(["", Health.typeName, ...services.map((service) => service.typeName)]);

  async function status(): Promise<ServingStatus> {
    const { ready } = await readiness();
    return ready ? ServingStatus.SERVING : ServingStatus.NOT_SERVING;
  }

  async function check({ service }: HealthCheckRequest) {
    if (!names.has(service)) throw new ConnectError(`unknown service ${JSON.stringify(service)}`, Code.NotFound);
    return { status: await status() };
  }

  async function* watch({ service }: HealthCheckRequest, { signal }: HandlerContext) {
    const ended = AbortSignal.any([signal, draining]);
    let sent: ServingStatus | undefined;
    for (;;) {
      const now = names.has(service) ? await status() : ServingStatus.SERVICE_UNKNOWN;
      if (now !== sent) yield { status: now };
      sent = now;
      if (draining.aborted) throw drainingError();
      if (signal.aborted) return;
      await sleep(watchIntervalMs, ended);
    }
  }

  async function list() {
    const now = await status();
    const statuses: Record<string, MessageInitShape<typeof HealthCheckResponseSchema>> = {};
    for (const name of names) statuses[name] = { status: now };
    return { statuses };
  }

  return (router) => void router.service(Health, { check, watch, list });
}
