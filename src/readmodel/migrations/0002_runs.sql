-- Rows say more than they did: everything is folded again from the log, which has all of it.
alter table events disable trigger user;
truncate events, runs, steps, tool_calls, agents;
alter table events enable trigger user;
update checkpoints set position = 0 where name = 'projector';

alter table runs
  add column queue text not null,
  add column parent_run_id text not null,
  add column session_id text not null,
  add column end_reason smallint not null,
  add column wake_time timestamptz,
  -- The child runs that a waiting run waits for: an array of run ids, empty for none.
  add column waiting_for jsonb not null,
  add column priority smallint not null,
  add column concurrency_key text not null;

create index runs_by_parent on runs (workspace_id, parent_run_id, create_position) where parent_run_id <> '';
create index runs_by_session on runs (workspace_id, session_id, create_position) where session_id <> '';
create index runs_by_end_reason on runs (workspace_id, end_reason, create_position) where end_reason <> 0;
-- 3 waiting: what the reactors wake.
create index runs_waiting on runs (wake_time) where status = 3;
