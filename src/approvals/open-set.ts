import type { OpenApproval } from "./open-queries.ts";

/** The approvals that have not ended. */
export interface OpenSet {
  /** Takes one in; twice is fine. */
  add(approval: OpenApproval): void;
  /** One of them; undefined when it is not there. */
  get(workspaceId: string, approvalId: string): OpenApproval | undefined;
  /** Takes one out and returns it; undefined when it is not there. */
  remove(workspaceId: string, approvalId: string): OpenApproval | undefined;
  /** Those of a run. */
  ofRun(workspaceId: string, runId: string): OpenApproval[];
  /** Those of a workspace. */
  ofWorkspace(workspaceId: string): OpenApproval[];
  /** The workspaces that have any. */
  workspaceIds(): string[];
}

interface Workspace {
  readonly approvals: Map<string, OpenApproval>;
  /** By run. */
  readonly idsOfRun: Map<string, Set<string>>;
}

/** Nothing is open yet. */
export function createOpenSet(): OpenSet {
  const workspaces = new Map<string, Workspace>();
  return {
    add(approval) {
      const { workspaceId, approvalId, runId } = approval;
      const workspace: Workspace = workspaces.get(workspaceId) ?? { approvals: new Map(), idsOfRun: new Map() };
      workspaces.set(workspaceId, workspace);
      workspace.approvals.set(approvalId, approval);
      const ids = workspace.idsOfRun.get(runId) ?? new Set<string>();
      workspace.idsOfRun.set(runId, ids.add(approvalId));
    },
    get: (workspaceId, approvalId) => workspaces.get(workspaceId)?.approvals.get(approvalId),
    remove(workspaceId, approvalId) {
      const workspace = workspaces.get(workspaceId);
      const approval = workspace?.approvals.get(approvalId);
      if (workspace === undefined || approval === undefined) return undefined;
      workspace.approvals.delete(approvalId);
      const ids = workspace.idsOfRun.get(approval.runId);
      ids?.delete(approvalId);
      if (ids?.size === 0) workspace.idsOfRun.delete(approval.runId);
      if (workspace.approvals.size === 0) workspaces.delete(workspaceId);
      return approval;
    },
    ofRun(workspaceId, runId) {
      const workspace = workspaces.get(workspaceId);
      const ids = workspace?.idsOfRun.get(runId) ?? [];
      return [...ids].flatMap((id) => workspace?.approvals.get(id) ?? []);
    },
    ofWorkspace: (workspaceId) => [...(workspaces.get(workspaceId)?.approvals.values() ?? [])],
    workspaceIds: () => [...workspaces.keys()],
  };
}
