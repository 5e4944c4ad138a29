import type { ConnectRouter, ServiceImpl } from "@connectrpc/connect";
import { pino } from "pino";
import { Registry } from "prom-client";
import { ApprovalService } from "../../gen/signalbox/v1/approval_service_pb.ts";
import { ArtifactService } from "../../gen/signalbox/v1/artifact_service_pb.ts";
import { EngineService } from "../../gen/signalbox/v1/engine_service_pb.ts";
import { EventService } from "../../gen/signalbox/v1/event_service_pb.ts";
import { IncidentService } from "../../gen/signalbox/v1/incident_service_pb.ts";
import { PipelineService } from "../../gen/signalbox/v1/pipeline_service_pb.ts";
import { PolicyService } from "../../gen/signalbox/v1/policy_service_pb.ts";
import { RoomService } from "../../gen/signalbox/v1/room_service_pb.ts";
import { RunService } from "../../gen/signalbox/v1/run_service_pb.ts";
import { openServer } from "../../src/server/server.ts";
import { createCommands, type Commands } from "./commands.ts";

/** What a fake answers; what is left out is answered as unimplemented. */
export interface FakeServices {
  readonly approvals?: Partial<ServiceImpl<typeof ApprovalService>>;
  readonly artifacts?: Partial<ServiceImpl<typeof ArtifactService>>;
  readonly engine?: Partial<ServiceImpl<typeof EngineService>>;
  readonly events?: Partial<ServiceImpl<typeof EventService>>;
  readonly incidents?: Partial<ServiceImpl<typeof IncidentService>>;
  readonly pipeline?: Partial<ServiceImpl<typeof PipelineService>>;
  readonly policy?: Partial<ServiceImpl<typeof PolicyService>>;
  readonly rooms?: Partial<ServiceImpl<typeof RoomService>>;
  readonly runs?: Partial<ServiceImpl<typeof RunService>>;
}

/** Commands for a server of which only the edge is real: requests are checked as by any other. */
export interface FakeServer extends AsyncDisposable, Commands {
  readonly url: string;
}

/** Opens one on a free port of 127.0.0.1. */
export async function openFakeServer(fakes: FakeServices): Promise<FakeServer> {
  function routes(router: ConnectRouter): void {
    router.service(ApprovalService, fakes.approvals ?? {});
    router.service(ArtifactService, fakes.artifacts ?? {});
    router.service(EngineService, fakes.engine ?? {});
    router.service(EventService, fakes.events ?? {});
    router.service(IncidentService, fakes.incidents ?? {});
    router.service(PipelineService, fakes.pipeline ?? {});
    router.service(PolicyService, fakes.policy ?? {});
    router.service(RoomService, fakes.rooms ?? {});
    router.service(RunService, fakes.runs ?? {});
  }

  const server = await openServer({
    host: "127.0.0.1",
    port: 0,
    auth: { mode: "none" },
    allowedOrigins: [],
    reflection: false,
    services: [
      ApprovalService,
      ArtifactService,
      EngineService,
      EventService,
      IncidentService,
      PipelineService,
      PolicyService,
      RoomService,
      RunService,
    ],
    routes,
    readiness: async () => ({}),
    metrics: new Registry(),
    log: pino({ level: "silent" }),
    draining: new AbortController(),
    drainTimeoutMs: 1_000,
    maxRequestBytes: 1024 * 1024,
  });
  const commands = createCommands(server.url, "ws_test");
  return { ...commands, url: server.url, [Symbol.asyncDispose]: () => server[Symbol.asyncDispose]() };
}
