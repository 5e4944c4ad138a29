// What `signalbox/client` exports wherever it runs: the contract, and what makes it convenient.

export type { SignalboxClient } from "./clients.ts";
export { follow, type FollowOptions } from "./follow.ts";
export { type JsonValue, jsonValue, NotJsonError, valueToJson } from "./json.ts";
export { isTransient, reasonOf } from "./reason.ts";

export { Code, ConnectError } from "@connectrpc/connect";
export * from "../../gen/signalbox/v1/agent_event_pb.ts";
export * from "../../gen/signalbox/v1/agent_pb.ts";
export * from "../../gen/signalbox/v1/agent_service_pb.ts";
export * from "../../gen/signalbox/v1/common_pb.ts";
export * from "../../gen/signalbox/v1/delta_pb.ts";
export * from "../../gen/signalbox/v1/document_event_pb.ts";
export * from "../../gen/signalbox/v1/document_pb.ts";
export * from "../../gen/signalbox/v1/document_service_pb.ts";
export * from "../../gen/signalbox/v1/engine_service_pb.ts";
export * from "../../gen/signalbox/v1/error_reason_pb.ts";
export * from "../../gen/signalbox/v1/event_pb.ts";
export * from "../../gen/signalbox/v1/event_service_pb.ts";
export * from "../../gen/signalbox/v1/queue_event_pb.ts";
export * from "../../gen/signalbox/v1/queue_pb.ts";
export * from "../../gen/signalbox/v1/queue_service_pb.ts";
export * from "../../gen/signalbox/v1/run_event_pb.ts";
export * from "../../gen/signalbox/v1/run_pb.ts";
export * from "../../gen/signalbox/v1/run_service_pb.ts";
export * from "../../gen/signalbox/v1/schedule_event_pb.ts";
export * from "../../gen/signalbox/v1/schedule_pb.ts";
export * from "../../gen/signalbox/v1/schedule_service_pb.ts";
export * from "../../gen/signalbox/v1/session_event_pb.ts";
export * from "../../gen/signalbox/v1/session_pb.ts";
export * from "../../gen/signalbox/v1/session_service_pb.ts";
export * from "../../gen/signalbox/v1/worker_pb.ts";
