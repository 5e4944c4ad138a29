// DBOS: workflows in the process that starts them, recorded in Postgres. There is no separate worker: what is measured is
// its shortest path.
import { DBOS } from "@dbos-inc/dbos-sdk";
import { answerQuestions } from "../support/answer.ts";
import { createBoard, submitMany, submitOneByOne } from "../support/submit.ts";
import { steps } from "./work.mjs";

const resources = new AsyncDisposableStack();
const board = createBoard();

const workflows = {
  echo: DBOS.registerWorkflow(async (input) => input, { name: "echo" }),
  steps: DBOS.registerWorkflow(
    async (input) => {
      for (let step = 1; step <= steps; step++) await DBOS.runStep(async () => step, { name: `step-${step}` });
      return input;
    },
    { name: "steps" },
  ),
};

const functions = {
  async open({ databaseUrl }) {
    DBOS.setConfig({
      name: "bench",
      systemDatabaseUrl: databaseUrl,
      systemDatabasePoolSize: 20,
      logLevel: "error",
      runAdminServer: false,
    });
    await DBOS.launch();
    resources.defer(() => DBOS.shutdown());
  },
  one: ({ work, count }) => submitOneByOne(submissions(work, count)),
  many: ({ work, count, concurrency }) => submitMany(submissions(work, count), concurrency),
};

function submissions(work, count) {
  const submit = async () => {
    const handle = await DBOS.startWorkflow(workflows[work])({ number: 7 });
    void handle.getResult().then(() => board.finish(handle.workflowID));
    return handle.workflowID;
  };
  return { board, count, submit };
}

answerQuestions(functions, resources);
