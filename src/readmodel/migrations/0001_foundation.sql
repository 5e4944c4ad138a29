-- How far the projector has come. Written in the same transaction as the rows it accounts for.
create table checkpoints (
  name text primary key,
  position bigint not null
);
insert into checkpoints (name, position) values ('projector', 0);

-- The queryable copy of the log: the stored bytes as they are, with the columns that filters need.
create table events (
  position bigint primary key,
  event_id uuid not null,
  workspace_id text not null,
  room_id text not null,
  stream_type text not null,
  stream_id text not null,
  stream_sequence bigint not null,
  type text not null,
  actor_id text not null,
  correlation_id text not null,
  create_time timestamptz not null,
  body bytea not null,
  prev_hash bytea not null,
  hash bytea not null
);
create unique index events_by_id on events (workspace_id, event_id);
create unique index events_by_stream on events (workspace_id, stream_type, stream_id, stream_sequence);
create index events_by_workspace on events (workspace_id, position);
create index events_by_room on events (workspace_id, room_id, position) where room_id <> '';
create index events_by_correlation on events (workspace_id, correlation_id, position);

create function refuse_change() returns trigger language plpgsql as $$
begin
  raise exception 'events are append-only';
end;
$$;
create trigger events_append_only before update or delete on events
  for each row execute function refuse_change();
create trigger events_no_truncate before truncate on events
  for each statement execute function refuse_change();

-- In every table of a noun: `resource` is the binary form of its message, the other columns serve filters and order.
create table runs (
  workspace_id text not null,
  run_id text not null,
  create_position bigint not null,
  last_position bigint not null,
  room_id text not null,
  agent_id text not null,
  handler text not null,
  status smallint not null,
  labels jsonb not null,
  create_time timestamptz not null,
  available_time timestamptz,
  deadline_time timestamptz,
  lease_expire_time timestamptz,
  resource bytea not null,
  primary key (workspace_id, run_id)
);
create index runs_by_creation on runs (workspace_id, create_position);
create index runs_by_room on runs (workspace_id, room_id, create_position) where room_id <> '';
create index runs_by_agent on runs (workspace_id, agent_id, create_position) where agent_id <> '';
create index runs_by_label on runs using gin (labels jsonb_path_ops);
-- 1 queued, 2 running: what the reconciler looks after.
create index runs_open on runs (status, available_time) where status in (1, 2);
create index runs_deadline on runs (deadline_time) where deadline_time is not null and status < 5;

create table steps (
  workspace_id text not null,
  step_id text not null,
  run_id text not null,
  create_position bigint not null,
  last_position bigint not null,
  resource bytea not null,
  primary key (workspace_id, step_id)
);
create index steps_by_run on steps (workspace_id, run_id, create_position);

create table tool_calls (
  workspace_id text not null,
  tool_call_id text not null,
  run_id text not null,
  create_position bigint not null,
  last_position bigint not null,
  status smallint not null,
  resource bytea not null,
  primary key (workspace_id, tool_call_id)
);
create index tool_calls_by_run on tool_calls (workspace_id, run_id, create_position);

create table agents (
  workspace_id text not null,
  agent_id text not null,
  create_position bigint not null,
  last_position bigint not null,
  status smallint not null,
  resource bytea not null,
  primary key (workspace_id, agent_id)
);
create index agents_by_creation on agents (workspace_id, create_position);
