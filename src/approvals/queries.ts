import { type Approval, ApprovalSchema, ApprovalStatus } from "../../gen/signalbox/v1/approval_pb.ts";
import type { Risk } from "../../gen/signalbox/v1/policy_pb.ts";
import type { Page } from "../readmodel/page.ts";
import type { Db } from "../readmodel/postgres.ts";
import { findResources, type Found } from "../readmodel/resource-page.ts";

/** Which approvals to list. What is empty, or 0, keeps all. */
export interface ApprovalQuery {
  readonly statuses: readonly ApprovalStatus[];
  readonly roomId: string;
  readonly runId: string;
  readonly agentId: string;
  /** A name like `user:alice`: keeps what this one may decide. */
  readonly assignee: string;
  /** Keeps this risk and above. */
  readonly minRisk: Risk;
}

/** Reads what approvals were folded into, a page at a time. */
export interface ApprovalLists {
  /** Approvals of a workspace, newest first. */
  approvals(workspaceId: string, query: ApprovalQuery, page: Page): Promise<Found<Approval>>;
}

const listText = (openOnly: boolean) => `
select create_position, resource from approvals
where workspace_id = $1
  and ($2::smallint[] = '{}' or status = any($2))
  and ($3 = '' or room_id = $3)
  and ($4 = '' or run_id = $4)
  and ($5 = '' or agent_id = $5)
  and ($6 = '' or deciders ? $6 or everybody and not $6 like 'agent:%' and not delegated_by ? $6)
  and risk >= $7
  and ($8::bigint is null or create_position < $8)
  ${openOnly ? "and status in (1, 2, 3)" : ""}
order by create_position desc
limit $9`;

// With the statuses in the text the small index of open ones serves: an inbox costs the same however much has been decided.
const openText = listText(true);
const anyText = listText(false);
const open: ReadonlySet<ApprovalStatus> = new Set([
  ApprovalStatus.PENDING,
  ApprovalStatus.HELD,
  ApprovalStatus.APPROVED,
]);

/** The lists of approvals. */
export function createApprovalLists(db: Db): ApprovalLists {
  return {
    approvals(workspaceId, { statuses, roomId, runId, agentId, assignee, minRisk }, page) {
      const openOnly = statuses.length > 0 && statuses.every((status) => open.has(status));
      return findResources(db, {
        name: openOnly ? "approvals_inbox" : "approvals_list",
        text: openOnly ? openText : anyText,
        order: "desc",
        values: [workspaceId, statuses, roomId, runId, agentId, assignee, minRisk, page.after ?? null, page.size + 1],
        schema: ApprovalSchema,
        page,
      });
    },
  };
}
