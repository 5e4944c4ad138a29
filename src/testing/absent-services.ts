import type { DescMethod, DescMethodUnary, DescService } from "@bufbuild/protobuf";
import type { ConnectRouter } from "@connectrpc/connect";
import { DocumentService } from "../../gen/signalbox/v1/document_service_pb.ts";
import { EvalService } from "../../gen/signalbox/v1/eval_service_pb.ts";
import { IncidentService } from "../../gen/signalbox/v1/incident_service_pb.ts";
import { PipelineService } from "../../gen/signalbox/v1/pipeline_service_pb.ts";
import { QueueService } from "../../gen/signalbox/v1/queue_service_pb.ts";
import { RoomService } from "../../gen/signalbox/v1/room_service_pb.ts";
import { ScheduleService } from "../../gen/signalbox/v1/schedule_service_pb.ts";
import { SessionService } from "../../gen/signalbox/v1/session_service_pb.ts";
import { SignalboxError } from "../kernel/errors.ts";

const absent: readonly DescService[] = [
  DocumentService,
  EvalService,
  IncidentService,
  PipelineService,
  QueueService,
  RoomService,
  ScheduleService,
  SessionService,
];

/** Answers every call of the services that a test does not have with NOT_IMPLEMENTED. */
export function absentRoutes(router: ConnectRouter): void {
  for (const { name, methods } of absent) {
    for (const method of methods.filter(isUnary)) {
      router.rpc(method, () => Promise.reject(notInMemory(`${name}.${method.name}`)));
    }
  }
}

function isUnary(method: DescMethod): method is DescMethodUnary {
  return method.methodKind === "unary";
}

/** NOT_IMPLEMENTED. */
export function notInMemory(what: string): SignalboxError {
  return new SignalboxError("NOT_IMPLEMENTED", `signalbox/testing does not have ${what}; test it against a server`);
}
