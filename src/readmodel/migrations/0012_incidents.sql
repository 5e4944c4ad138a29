create table incidents (
  workspace_id text not null,
  incident_id text not null,
  create_position bigint not null,
  last_position bigint not null,
  room_id text not null,
  status smallint not null,
  severity smallint not null,
  kind smallint not null,
  cause text not null,
  resource bytea not null,
  primary key (workspace_id, incident_id)
);
create index incidents_by_creation on incidents (workspace_id, create_position);
create index incidents_by_room on incidents (workspace_id, room_id, create_position) where room_id <> '';
-- 3 resolved: what is left to look into.
create index incidents_open on incidents (workspace_id, create_position) where status < 3;
create index incidents_by_cause on incidents (workspace_id, cause) where cause <> '';

-- Runs say where they stand on the board, and what it shows of them: so everything is folded again from the log, which has
-- all of it.
alter table events disable trigger user;
do $$
declare
  name text;
begin
  for name in
    select quote_ident(tablename) from pg_tables
    where schemaname = current_schema() and tablename not in ('migrations', 'checkpoints')
  loop
    execute 'truncate ' || name;
  end loop;
end;
$$;
alter table events enable trigger user;
update checkpoints set position = 0 where name = 'projector';

alter table runs
  add column stage smallint not null,
  add column end_time timestamptz,
  -- The binary form of a PipelineItem: small, where `resource` holds input and output.
  add column item bytea not null;
-- The columns of the board. 5 done, 6 failed.
create index runs_by_stage on runs (workspace_id, stage, create_position) include (room_id) where stage < 5;
create index runs_by_end on runs (workspace_id, stage, end_time) include (room_id) where stage >= 5;
