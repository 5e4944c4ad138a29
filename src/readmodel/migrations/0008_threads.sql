-- The conversation that an event belongs to; events of earlier versions have none.
alter table events add column thread_id text not null default '';
create index events_by_thread on events (workspace_id, thread_id, position) where thread_id <> '';
