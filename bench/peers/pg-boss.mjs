// pg-boss: jobs in Postgres. It has no steps, so ten steps are ten rows that the job writes one after the other, each in a
// transaction of its own: what its users do to keep their progress.
import pg from "pg";
import { PgBoss } from "pg-boss";
import { answerQuestions } from "../support/answer.ts";
import { createBoard, submitMany, submitOneByOne } from "../support/submit.ts";
import { queueOf, steps } from "./work.mjs";

const resources = new AsyncDisposableStack();
const board = createBoard();
let boss;

const functions = {
  /** Starts `workers` workers, each with as many jobs at a time as `concurrency` says. */
  async open({ databaseUrl, workers, concurrency }) {
    const pool = new pg.Pool({ connectionString: databaseUrl });
    resources.defer(() => pool.end());
    await pool.query("create schema if not exists peers");
    await pool.query(
      "create table if not exists peers.steps (job uuid, step int, output jsonb, primary key (job, step))",
    );
    boss = new PgBoss({ connectionString: databaseUrl, useListenNotify: true, max: 20 });
    boss.on("error", () => {});
    await boss.start();
    resources.defer(() => boss.stop({ graceful: false }));
    for (const work of ["echo", "steps"]) {
      await boss.createQueue(queueOf(work), { notify: true });
      // What its documentation recommends for throughput: batches, fetched without a pause while they come back full.
      const options = {
        localConcurrency: workers,
        batchSize: concurrency,
        burstWhenBatchFull: true,
        pollingIntervalSeconds: 0.5,
      };
      await boss.work(queueOf(work), options, (jobs) => Promise.all(jobs.map((job) => handle(pool, work, job))));
    }
  },
  one: ({ work, count }) => submitOneByOne(submissions(work, count)),
  many: ({ work, count, concurrency }) => submitMany(submissions(work, count), concurrency),
};

async function handle(pool, work, job) {
  for (let step = 1; work === "steps" && step <= steps; step++) {
    await pool.query("insert into peers.steps values ($1, $2, $3)", [job.id, step, JSON.stringify(step)]);
  }
  // A job is done when its row says so, which is written after this returns: the clock stops a little early.
  setImmediate(() => board.finish(job.id));
  return job.data;
}

function submissions(work, count) {
  return { board, count, submit: () => boss.send(queueOf(work), { number: 7 }) };
}

answerQuestions(functions, resources);
