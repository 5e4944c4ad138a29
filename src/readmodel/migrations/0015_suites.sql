create table suites (
  workspace_id text not null,
  suite_id text not null,
  create_position bigint not null,
  last_position bigint not null,
  status smallint not null,
  resource bytea not null,
  primary key (workspace_id, suite_id)
);
create index suites_by_creation on suites (workspace_id, create_position);

-- Every version of every suite. `suite_version` is the suite's id, a slash, and the number of the version.
create table suite_versions (
  workspace_id text not null,
  suite_version text not null,
  create_position bigint not null,
  last_position bigint not null,
  suite_id text not null,
  resource bytea not null,
  primary key (workspace_id, suite_version)
);
create index suite_versions_by_suite on suite_versions (workspace_id, suite_id, create_position);
