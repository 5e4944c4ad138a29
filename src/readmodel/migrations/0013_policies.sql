-- Every version of every workspace's policy. `version` is its number as text.
create table policy_versions (
  workspace_id text not null,
  version text not null,
  create_position bigint not null,
  last_position bigint not null,
  resource bytea not null,
  primary key (workspace_id, version)
);
create index policy_versions_by_creation on policy_versions (workspace_id, create_position);

-- The events that hold a decision of a policy: what SimulatePolicy goes through.
create index events_decided on events (workspace_id, position)
  where type in ('tool_call.started', 'tool_call.gated', 'tool_call.denied', 'approval.requested');
