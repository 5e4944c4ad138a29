create table artifacts (
  workspace_id text not null,
  artifact_id text not null,
  create_position bigint not null,
  last_position bigint not null,
  room_id text not null,
  run_id text not null,
  status smallint not null,
  purpose smallint not null,
  name text not null,
  size_bytes bigint not null,
  held boolean not null,
  expire_time timestamptz,
  purge_time timestamptz,
  resource bytea not null,
  primary key (workspace_id, artifact_id)
);
create index artifacts_by_creation on artifacts (workspace_id, create_position);
create index artifacts_by_room on artifacts (workspace_id, room_id, create_position) where room_id <> '';
create index artifacts_by_run on artifacts (workspace_id, run_id, create_position) where run_id <> '';
create index artifacts_by_name on artifacts (workspace_id, name, create_position);
-- 4 purged: what is kept, and what may be.
create index artifacts_stored on artifacts (workspace_id) include (size_bytes, held) where status < 4;
-- 1 available; 2 deleted, 3 expired: what becomes of them by itself.
create index artifacts_expiring on artifacts (expire_time) where status = 1 and not held;
create index artifacts_going on artifacts (purge_time) where status in (2, 3) and not held;

-- Artifacts as their runs have recorded them: `pending` until their own streams begin.
create table run_artifacts (
  workspace_id text not null,
  artifact_id text not null,
  create_position bigint not null,
  last_position bigint not null,
  pending boolean not null,
  resource bytea not null,
  primary key (workspace_id, artifact_id)
);
create index run_artifacts_pending on run_artifacts (create_position) where pending;

-- Download links by the SHA-256, in hex, of the token in them: whoever has the token finds its workspace.
create table artifact_links (
  workspace_id text not null,
  token_digest text not null,
  create_position bigint not null,
  last_position bigint not null,
  artifact_id text not null,
  resource bytea not null,
  primary key (workspace_id, token_digest)
);
create index artifact_links_by_token on artifact_links (token_digest);

-- The access log, a row for each line.
create table artifact_accesses (
  workspace_id text not null,
  access_id text not null,
  create_position bigint not null,
  last_position bigint not null,
  artifact_id text not null,
  run_id text not null,
  outcome smallint not null,
  resource bytea not null,
  primary key (workspace_id, access_id)
);
create index artifact_accesses_by_creation on artifact_accesses (workspace_id, create_position);
create index artifact_accesses_by_artifact on artifact_accesses (workspace_id, artifact_id, create_position);
create index artifact_accesses_by_run on artifact_accesses (workspace_id, run_id, create_position) where run_id <> '';
