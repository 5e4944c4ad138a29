create table schedules (
  workspace_id text not null,
  schedule_id text not null,
  create_position bigint not null,
  last_position bigint not null,
  status smallint not null,
  next_time timestamptz,
  resource bytea not null,
  primary key (workspace_id, schedule_id)
);
create index schedules_by_creation on schedules (workspace_id, create_position);
-- What fires next, of all workspaces.
create index schedules_by_next_time on schedules (next_time) where next_time is not null;
