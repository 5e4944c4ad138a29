-- Documents as lists show them. A deleted one keeps its row, emptied: its collection is ''.
create table documents (
  workspace_id text not null,
  document_id text not null,
  create_position bigint not null,
  last_position bigint not null,
  collection text not null,
  resource bytea not null,
  primary key (workspace_id, document_id)
);
create index documents_by_creation on documents (workspace_id, create_position) where collection <> '';
create index documents_by_collection on documents (workspace_id, collection, create_position) where collection <> '';

-- What is searched: `resource` is a DocumentAdded with the text and the vectors, so it can be large. Emptied in the same way.
create table document_chunks (
  workspace_id text not null,
  document_id text not null,
  create_position bigint not null,
  last_position bigint not null,
  collection text not null,
  embedding_model text not null,
  resource bytea not null,
  primary key (workspace_id, document_id)
);
create index document_chunks_by_collection on document_chunks (workspace_id, collection, embedding_model, create_position)
  where collection <> '';
