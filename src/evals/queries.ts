import { fromBinary } from "@bufbuild/protobuf";
import { type Suite, SuiteSchema, type SuiteStatus } from "../../gen/signalbox/v1/eval_pb.ts";
import type { Page } from "../readmodel/page.ts";
import type { Db } from "../readmodel/postgres.ts";
import { findResources, type Found } from "../readmodel/resource-page.ts";

/** Which suites to list. */
export interface SuiteQuery {
  readonly workspaceId: string;
  /** Keeps only these; empty keeps all. */
  readonly statuses: readonly SuiteStatus[];
  readonly page: Page;
}

const newest = 2n ** 63n - 1n;

const listText =
  "select create_position, resource from suites " +
  "where workspace_id = $1 and create_position < $2 and (cardinality($3::smallint[]) = 0 or status = any($3)) " +
  "order by create_position desc limit $4";

/** A page of suites, newest first. */
export function listSuites(db: Db, { workspaceId, statuses, page }: SuiteQuery): Promise<Found<Suite>> {
  return findResources(db, {
    name: "suites_list",
    text: listText,
    order: "desc",
    values: [workspaceId, page.after ?? newest, statuses, page.size + 1],
    schema: SuiteSchema,
    page,
  });
}

const versionsText =
  "select create_position, resource from suite_versions " +
  "where workspace_id = $1 and suite_id = $2 and create_position < $3 order by create_position desc limit $4";

/** A page of the versions of a suite, newest first, as they were put. */
export function listSuiteVersions(db: Db, workspaceId: string, suiteId: string, page: Page): Promise<Found<Suite>> {
  return findResources(db, {
    name: "suite_versions_list",
    text: versionsText,
    order: "desc",
    values: [workspaceId, suiteId, page.after ?? newest, page.size + 1],
    schema: SuiteSchema,
    page,
  });
}

/** A version as it was put; undefined when there is none. `id` is its row's. */
export async function findSuiteVersion(db: Db, workspaceId: string, id: string): Promise<Suite | undefined> {
  const { rows } = await db.query<{ resource: Uint8Array }>({
    name: "suite_versions_find",
    text: "select resource from suite_versions where workspace_id = $1 and suite_version = $2",
    values: [workspaceId, id],
  });
  return rows[0] && fromBinary(SuiteSchema, rows[0].resource);
}
