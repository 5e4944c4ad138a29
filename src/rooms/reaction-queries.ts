import type { Db } from "../readmodel/postgres.ts";

/** A part of the log: behind `after`, up to and with `upTo`. */
export interface Stretch {
  readonly after: bigint;
  readonly upTo: bigint;
}

/** Something in a workspace that waits for a reaction. */
export interface Awaiting {
  readonly workspaceId: string;
  /** Of the message, or of the run. */
  readonly id: string;
  /** Where it began to wait. */
  readonly position: bigint;
}

interface Row {
  readonly workspace_id: string;
  readonly id: string;
  readonly position: bigint;
}

// A mention is done with when there is its run, or a message in place of the run's answer. 1 active, 3 redacted.
const unansweredMentionsText = `
select messages.workspace_id, messages.message_id as id, messages.create_position as position
from messages
join rooms on rooms.workspace_id = messages.workspace_id and rooms.room_id = messages.room_id and rooms.status = 1
where messages.called_run_ids <> '[]' and messages.create_position > $1 and messages.create_position <= $2
  and messages.status <> 3
  and exists (
    select from jsonb_array_elements_text(messages.called_run_ids) as called (run_id)
    where not exists (
      select from runs where runs.workspace_id = messages.workspace_id and runs.run_id = called.run_id
    ) and not exists (
      select from messages as answers
      where answers.workspace_id = messages.workspace_id and answers.run_id = called.run_id and answers.run_id <> ''
    )
  )
order by messages.create_position limit $3`;

/** Messages whose mentions have not created their runs, by position, up to `limit`. Those nobody can see any more are left out. */
export function unansweredMentions(db: Db, stretch: Stretch, limit: number): Promise<Awaiting[]> {
  return find(db, "messages_unanswered_mentions", unansweredMentionsText, stretch, limit);
}

// 5 to 7 are the ends.
const unansweredEndsText = `
select runs.workspace_id, runs.run_id as id, runs.last_position as position
from runs
join messages using (workspace_id, message_id)
join rooms on rooms.workspace_id = messages.workspace_id and rooms.room_id = messages.room_id and rooms.status = 1
where runs.message_id <> '' and runs.status in (5, 6, 7) and runs.last_position > $1 and runs.last_position <= $2
  and not exists (
    select from messages as answers
    where answers.workspace_id = runs.workspace_id and answers.run_id = runs.run_id and answers.run_id <> ''
  )
order by runs.last_position limit $3`;

/** Runs that have ended and whose answers are not posted, by position, up to `limit`. Archived rooms take none. */
export function unansweredEnds(db: Db, stretch: Stretch, limit: number): Promise<Awaiting[]> {
  return find(db, "runs_unanswered_ends", unansweredEndsText, stretch, limit);
}

async function find(db: Db, name: string, text: string, stretch: Stretch, limit: number): Promise<Awaiting[]> {
  const { rows } = await db.query<Row>({ name, text, values: [stretch.after, stretch.upTo, limit] });
  return rows.map(({ workspace_id: workspaceId, id, position }) => ({ workspaceId, id, position }));
}
