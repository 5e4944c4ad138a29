create table sessions (
  workspace_id text not null,
  session_id text not null,
  create_position bigint not null,
  last_position bigint not null,
  resource bytea not null,
  primary key (workspace_id, session_id)
);
create index sessions_by_creation on sessions (workspace_id, create_position);
