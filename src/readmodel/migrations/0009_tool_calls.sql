-- What stands between tool calls and their start. Rows from before are filled by their next event, or by `signalbox rebuild`.
alter table tool_calls
  add column tool text not null default '',
  add column effect smallint not null default 0,
  -- Where in the log the call was started last, where that start ended, and where a kill switch held it back last; 0 for never.
  add column start_position bigint not null default 0,
  add column end_position bigint not null default 0,
  add column stop_position bigint not null default 0,
  add column approval_id text not null default '';
-- The inbox of what has to be reconciled, and everything else that lists the calls of all runs.
create index tool_calls_by_creation on tool_calls (workspace_id, create_position);
create index tool_calls_by_status on tool_calls (workspace_id, status, create_position);
-- 3 external write: what kill switches have stopped, and what they found under way.
create index tool_calls_external on tool_calls (workspace_id, last_position) where effect = 3;

alter table steps
  add column name text not null default '',
  -- Where in the log a kill switch held a step that asks for an approval back last; 0 for never.
  add column stop_position bigint not null default 0;
create index steps_stopped on steps (workspace_id, stop_position) where stop_position > 0;

alter table runs
  -- The message that the run answers; empty for none.
  add column message_id text not null default '',
  -- The approvals that a waiting run waits for: an array of approval ids, empty for none.
  add column waiting_approvals jsonb not null default '[]';
create index runs_by_message on runs (last_position) where message_id <> '';
create index runs_waiting_approvals on runs (create_position) where status = 3 and waiting_approvals <> '[]';
