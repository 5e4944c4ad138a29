-- What ListAgents filters by. Rows from before are filled by their next event, or by `signalbox rebuild`.
alter table agents
  add column preset text not null default '',
  add column handler text not null default '';
create index agents_by_preset on agents (workspace_id, preset, create_position) where preset <> '';
create index agents_by_handler on agents (workspace_id, handler, create_position);
