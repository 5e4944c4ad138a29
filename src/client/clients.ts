import { type Client, createClient, type Transport } from "@connectrpc/connect";
import { AgentService } from "../../gen/signalbox/v1/agent_service_pb.ts";
import { ApprovalService } from "../../gen/signalbox/v1/approval_service_pb.ts";
import { ArtifactService } from "../../gen/signalbox/v1/artifact_service_pb.ts";
import { EngineService } from "../../gen/signalbox/v1/engine_service_pb.ts";
import { EvalService } from "../../gen/signalbox/v1/eval_service_pb.ts";
import { EventService } from "../../gen/signalbox/v1/event_service_pb.ts";
import { DocumentService } from "../../gen/signalbox/v1/document_service_pb.ts";
import { IncidentService } from "../../gen/signalbox/v1/incident_service_pb.ts";
import { PipelineService } from "../../gen/signalbox/v1/pipeline_service_pb.ts";
import { PolicyService } from "../../gen/signalbox/v1/policy_service_pb.ts";
import { QueueService } from "../../gen/signalbox/v1/queue_service_pb.ts";
import { RoomService } from "../../gen/signalbox/v1/room_service_pb.ts";
import { RunService } from "../../gen/signalbox/v1/run_service_pb.ts";
import { ScheduleService } from "../../gen/signalbox/v1/schedule_service_pb.ts";
import { SessionService } from "../../gen/signalbox/v1/session_service_pb.ts";
import { type Identity, identified, namesOf, shortened } from "./identity.ts";

/** A client of each service of Signalbox, all over one transport. */
export interface SignalboxClient {
  /** Starts runs, shows them and stops them. */
  readonly runs: Client<typeof RunService>;
  /** Reads the log; `follow` is the convenient way to subscribe. */
  readonly events: Client<typeof EventService>;
  /** What workers speak; `createWorker` is the convenient way. */
  readonly engine: Client<typeof EngineService>;
  /** Keeps agents. */
  readonly agents: Client<typeof AgentService>;
  /** Keeps the settings of queues. */
  readonly queues: Client<typeof QueueService>;
  /** Keeps schedules, which create runs by the clock. */
  readonly schedules: Client<typeof ScheduleService>;
  /** Shows conversations: runs that name the same session. */
  readonly sessions: Client<typeof SessionService>;
  /** Keeps texts that agents look things up in. */
  readonly documents: Client<typeof DocumentService>;
  /** Keeps rooms, and what people and agents say in them. */
  readonly rooms: Client<typeof RoomService>;
  /** Where people let runs do what is dangerous, or not. */
  readonly approvals: Client<typeof ApprovalService>;
  /** Says what runs may do, and stops them. */
  readonly policy: Client<typeof PolicyService>;
  /** Keeps what went wrong until people know why. */
  readonly incidents: Client<typeof IncidentService>;
  /** Keeps suites of cases, and holds agents against them. */
  readonly evals: Client<typeof EvalService>;
  /** Keeps files: results of runs, sealed at rest. */
  readonly artifacts: Client<typeof ArtifactService>;
  /** Shows all work at once. */
  readonly pipeline: Client<typeof PipelineService>;
  /**
   * The same client, acting for somebody: `user:alice`, then those on whose behalf she acts, nearest first; before those of
   * this client, at most 8 in all. Over the same connections, which are not its to close.
   */
  onBehalfOf(...names: readonly string[]): SignalboxClient;
  /** Closes the connections that the client opened; calls under way and later ones fail. Doing it twice is fine. */
  close(): void;
  /** The same as `close`. */
  [Symbol.dispose](): void;
}

/** A client over a transport. Runs wherever the transport does; `onClose` is called at the first close. */
export function clientOver(transport: Transport, identity: Identity, onClose?: () => void): SignalboxClient {
  const closing = new AbortController();
  const own = identified(transport, identity, closing.signal);
  function close(): void {
    if (closing.signal.aborted) return;
    closing.abort();
    onClose?.();
  }
  return {
    runs: createClient(RunService, own),
    events: createClient(EventService, own),
    engine: createClient(EngineService, own),
    agents: createClient(AgentService, own),
    queues: createClient(QueueService, own),
    schedules: createClient(ScheduleService, own),
    sessions: createClient(SessionService, own),
    documents: createClient(DocumentService, own),
    rooms: createClient(RoomService, own),
    approvals: createClient(ApprovalService, own),
    policy: createClient(PolicyService, own),
    incidents: createClient(IncidentService, own),
    evals: createClient(EvalService, own),
    artifacts: createClient(ArtifactService, own),
    pipeline: createClient(PipelineService, own),
    // Over the transport that refuses calls once this client is closed.
    onBehalfOf: (...names) => clientOver(own, { onBehalfOf: shortened([...names, ...namesOf(identity)]) }),
    close,
    [Symbol.dispose]: close,
  };
}
