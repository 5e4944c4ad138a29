import { setImmediate as nextTurn } from "node:timers/promises";
import { fromJson, toBinary } from "@bufbuild/protobuf";
import { ValueSchema } from "@bufbuild/protobuf/wkt";
import { type EvalCase, type Suite, SuiteSchema } from "../../gen/signalbox/v1/eval_pb.ts";
import type {
  ArchiveSuiteRequest,
  GetSuiteRequest,
  ListSuitesRequest,
  ListSuiteVersionsRequest,
  PutSuiteRequest,
} from "../../gen/signalbox/v1/eval_service_pb.ts";
import { type AggregatesDeps, createAggregates, type Loaded } from "../eventlog/aggregates.ts";
import type { Call } from "../kernel/call.ts";
import { SignalboxError } from "../kernel/errors.ts";
import { derivedId } from "../kernel/ids.ts";
import { requireSize, requireStorable } from "../kernel/limits.ts";
import { readPage } from "../readmodel/page.ts";
import type { Positions } from "../readmodel/positions.ts";
import type { Db } from "../readmodel/postgres.ts";
import { archiveSuite, putSuite, suiteNotFound } from "./decider.ts";
import { versionId } from "./projection.ts";
import { findSuiteVersion, listSuites, listSuiteVersions } from "./queries.ts";
import { suiteAggregate, type SuiteState } from "./state.ts";
import { completeThresholds } from "./thresholds.ts";

/** A suite after a command, and where the log stood then. */
export interface SuiteAnswer {
  readonly suite: Suite;
  readonly position: bigint;
}

/** The suites of all workspaces; every call sees its own workspace only. */
export interface Suites {
  /** Makes a suite or a new version of it. INVALID_REQUEST, ETAG_MISMATCH, PAYLOAD_TOO_LARGE. */
  put(call: Call, request: PutSuiteRequest): Promise<SuiteAnswer>;
  /** A suite as it is now, or a version of it. SUITE_NOT_FOUND, READ_MODEL_BEHIND. */
  get(call: Call, request: Pick<GetSuiteRequest, "suiteId" | "name" | "version">): Promise<Suite>;
  /** Takes the suite out of use; twice is fine. SUITE_NOT_FOUND. */
  archive(call: Call, request: ArchiveSuiteRequest): Promise<SuiteAnswer>;
  /** A page of suites, newest first. READ_MODEL_BEHIND. */
  list(call: Call, request: ListSuitesRequest): Promise<{ suites: Suite[]; nextPageToken: string }>;
  /** A page of versions, newest first. SUITE_NOT_FOUND, READ_MODEL_BEHIND. */
  listVersions(call: Call, request: ListSuiteVersionsRequest): Promise<{ suites: Suite[]; nextPageToken: string }>;
}

/** What suites need. */
export interface SuitesDeps extends AggregatesDeps {
  readonly db: Db;
  readonly positions: Pick<Positions, "reach">;
  /** Throws an error, whose message says why, for a case whose checks can not be made, or take too long to read. */
  readonly requireUsable: (evalCase: EvalCase) => void;
}

/** The largest suite: every read of one has to fit an answer that gRPC clients take by default. */
const maxSuiteBytes = 1024 * 1024;
/** How long reading the checks of a suite may take. */
const maxCheckingMs = 10_000;

/** The suites on a log and its read models. */
export function createSuites({ db, positions, requireUsable, ...deps }: SuitesDeps): Suites {
  const aggregates = createAggregates(suiteAggregate, deps);

  async function requireSuite(suite: Suite): Promise<void> {
    requireSize("suite", toBinary(SuiteSchema, suite).length, maxSuiteBytes, "split it into several suites");
    completeThresholds(suite.thresholds);
    const lateMs = performance.now() + maxCheckingMs;
    for (const evalCase of suite.cases) {
      requireStorable(`input of case ${evalCase.key}`, evalCase.input, maxSuiteBytes);
      requireStorable(`expected output of case ${evalCase.key}`, evalCase.expected, maxSuiteBytes);
      for (const { kind } of evalCase.checks) {
        if (kind.case !== "schema") continue;
        const schema = fromJson(ValueSchema, kind.value.schema ?? {});
        requireStorable(`schema of case ${evalCase.key}`, schema, maxSuiteBytes);
      }
      requireChecks(evalCase);
      if (performance.now() > lateMs) {
        const problem = `its checks take more than ${maxCheckingMs / 1_000} s to read`;
        throw new SignalboxError("INVALID_REQUEST", `the suite is too large: ${problem}; split it into several suites`);
      }
      // Others get their turn: reading a schema takes some milliseconds.
      await nextTurn();
    }
  }

  function requireChecks(evalCase: EvalCase): void {
    try {
      requireUsable(evalCase);
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error);
      throw new SignalboxError("INVALID_REQUEST", why, { case_key: evalCase.key }, error);
    }
  }

  return {
    async put(call, { suite, validateOnly }) {
      if (suite === undefined) throw new SignalboxError("INVALID_REQUEST", "suite is missing: say what it is to be");
      await requireSuite(suite);
      const id = suiteIdOf(call, suite.name);
      if (suite.suiteId !== "" && suite.suiteId !== id) {
        throw new SignalboxError(
          "INVALID_REQUEST",
          `suite_id is not that of the name ${JSON.stringify(suite.name)}: a suite keeps its name; leave suite_id empty to put another one`,
          { field: "suite.suite_id" },
        );
      }
      if (validateOnly) return { suite, position: (await aggregates.load(call.workspaceId, id)).position };
      const decide = (state: SuiteState) => putSuite(state, suite);
      return answer(await aggregates.execute({ call, id, creation: { roomId: "", repeatable: true }, decide }), id);
    },
    async get(call, { suiteId, name, version }) {
      const id = suiteId === "" ? suiteIdOf(call, name) : suiteId;
      const { state, position } = await aggregates.load(call.workspaceId, id);
      if (state.status === "absent") throw suiteNotFound(suiteId || JSON.stringify(name));
      if (version === 0n || version === state.suite.version) return state.suite;
      if (version > state.suite.version) throw suiteNotFound(id, version);
      // The table has every version up to the present one once it has reached that.
      await positions.reach(position, call.signal);
      const found = await findSuiteVersion(db, call.workspaceId, versionId(id, version));
      if (found === undefined) throw suiteNotFound(id, version);
      return ofSuite(found, state.suite);
    },
    async archive(call, { suiteId }) {
      const decide = (state: SuiteState) => archiveSuite(state, suiteId);
      return answer(await aggregates.execute({ call, id: suiteId, decide }), suiteId);
    },
    async list({ workspaceId, signal }, { statuses, pageSize, pageToken, minPosition }) {
      const page = readPage("suites", [workspaceId, statuses], pageSize, pageToken);
      await positions.reach(minPosition, signal);
      const { items, nextPageToken } = await listSuites(db, { workspaceId, statuses, page });
      return { suites: items, nextPageToken };
    },
    async listVersions({ workspaceId, signal }, { suiteId, pageSize, pageToken, minPosition }) {
      const page = readPage("suite_versions", [workspaceId, suiteId], pageSize, pageToken);
      const { state } = await aggregates.load(workspaceId, suiteId);
      if (state.status === "absent") throw suiteNotFound(suiteId);
      await positions.reach(minPosition, signal);
      const { items, nextPageToken } = await listSuiteVersions(db, workspaceId, suiteId, page);
      return { suites: items.map((version) => ofSuite(version, state.suite)), nextPageToken };
    },
  };
}

/** A version from the table, which knows of that alone, with what the suite as a whole began with. */
function ofSuite(version: Suite, { createTime, createBy }: Suite): Suite {
  return {
    ...version,
    ...(createTime === undefined ? {} : { createTime }),
    ...(createBy === undefined ? {} : { createBy }),
  };
}

/** A workspace has one suite of a name, so that a put may be repeated by whoever has the file. */
function suiteIdOf({ workspaceId }: Call, name: string): string {
  return derivedId("suite", workspaceId, "PutSuite", name);
}

function answer({ state, position }: Loaded<SuiteState>, suiteId: string): SuiteAnswer {
  if (state.status === "absent") throw suiteNotFound(suiteId);
  return { suite: state.suite, position };
}
