create table rooms (
  workspace_id text not null,
  room_id text not null,
  create_position bigint not null,
  last_position bigint not null,
  status smallint not null,
  resource bytea not null,
  primary key (workspace_id, room_id)
);
create index rooms_by_creation on rooms (workspace_id, create_position);

-- Who takes part in what. Whoever has left keeps the row: their handle is ''. An id is the room's and the principal's name.
create table room_members (
  workspace_id text not null,
  member_id text not null,
  create_position bigint not null,
  last_position bigint not null,
  handle text not null,
  resource bytea not null,
  room_id text not null generated always as (split_part(member_id, '/', 1)) stored,
  principal text not null generated always as (substr(member_id, strpos(member_id, '/') + 1)) stored,
  primary key (workspace_id, member_id)
);
create index room_members_by_principal on room_members (workspace_id, principal) where handle <> '';

create table threads (
  workspace_id text not null,
  thread_id text not null,
  create_position bigint not null,
  last_position bigint not null,
  room_id text not null,
  resource bytea not null,
  primary key (workspace_id, thread_id)
);
create index threads_by_room on threads (workspace_id, room_id, create_position);

create table messages (
  workspace_id text not null,
  message_id text not null,
  create_position bigint not null,
  last_position bigint not null,
  room_id text not null,
  thread_id text not null,
  status smallint not null,
  -- Who counts as the author, as `user:alice`.
  author text not null,
  -- The run whose answer it is; '' for none.
  run_id text not null,
  -- The names of the principals that it calls, and the runs that this creates.
  mentions jsonb not null,
  called_run_ids jsonb not null,
  resource bytea not null,
  primary key (workspace_id, message_id)
);
create index messages_by_thread on messages (workspace_id, thread_id, create_position) where thread_id <> '';
create index messages_by_change on messages (workspace_id, room_id, last_position);
-- The order of the room. 3 redacted: what unread counts look at is in the index.
create index messages_by_room on messages (workspace_id, room_id, create_position) include (author, status);
create index messages_mentioning on messages (workspace_id, room_id, create_position) where mentions <> '[]';
create index messages_by_run on messages (workspace_id, run_id) where run_id <> '';
create index messages_calling on messages (create_position) where called_run_ids <> '[]';

create table read_cursors (
  workspace_id text not null,
  cursor_id text not null,
  create_position bigint not null,
  last_position bigint not null,
  room_id text not null,
  principal text not null,
  read_position bigint not null,
  resource bytea not null,
  primary key (workspace_id, cursor_id)
);
create index read_cursors_by_principal on read_cursors (workspace_id, principal, room_id);

-- What GetRoomChanges looks for.
create index runs_by_room_change on runs (workspace_id, room_id, last_position) where room_id <> '';
create index approvals_by_room_change on approvals (workspace_id, room_id, last_position) where room_id <> '';
