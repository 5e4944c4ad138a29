-- The settings of queues. Names are compared byte by byte: lists put them beside those that runs use.
create table queues (
  workspace_id text not null,
  name text collate "C" not null,
  create_position bigint not null,
  last_position bigint not null,
  resource bytea not null,
  primary key (workspace_id, name)
);

-- Which runs a rate limit counts. Rows are folded again since the migration before.
alter table runs add column start_time timestamptz;
-- What a queue holds.
create index runs_open_by_queue on runs (workspace_id, queue collate "C", status) where status < 5;
-- Open children: their parents are told of their end, and they are ended with their parents.
create index runs_open_children on runs (create_position) where parent_run_id <> '' and status < 5;

alter table agents add column max_running integer not null default 0;
create index agents_limited on agents (workspace_id, agent_id) where max_running > 0;
