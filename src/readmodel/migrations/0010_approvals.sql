create table approvals (
  workspace_id text not null,
  approval_id text not null,
  create_position bigint not null,
  last_position bigint not null,
  room_id text not null,
  run_id text not null,
  agent_id text not null,
  status smallint not null,
  risk smallint not null,
  -- Who is named to decide, and who has let somebody else do it: arrays of names such as user:alice.
  deciders jsonb not null,
  delegated_by jsonb not null,
  -- True where nobody had to be named, so that all but agents may decide.
  everybody boolean not null,
  policy_hash text not null,
  -- When it lapses or escalates by itself, whichever is first.
  due_time timestamptz,
  resource bytea not null,
  primary key (workspace_id, approval_id)
);
create index approvals_by_creation on approvals (workspace_id, create_position);
create index approvals_by_room on approvals (workspace_id, room_id, create_position) where room_id <> '';
create index approvals_by_agent on approvals (workspace_id, agent_id, create_position) where agent_id <> '';
create index approvals_by_run on approvals (workspace_id, run_id, create_position);
-- 1 pending, 2 held, 3 approved: what inboxes show, and what the reactor looks after.
create index approvals_inbox on approvals (workspace_id, create_position) where status in (1, 2, 3);
create index approvals_open on approvals (create_position) where status in (1, 2, 3);
create index approvals_by_due_time on approvals (due_time) where due_time is not null;
