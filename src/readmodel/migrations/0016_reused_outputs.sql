-- Outputs of steps that are artifacts of other runs: forks that have taken them over from the runs they began as.
create table reused_outputs (
  workspace_id text not null,
  step_id text not null,
  create_position bigint not null,
  last_position bigint not null,
  artifact_id text not null,
  run_id text not null,
  resource bytea not null,
  primary key (workspace_id, step_id)
);
create index reused_outputs_by_artifact on reused_outputs (workspace_id, artifact_id);
