// What `signalbox/testing` exports: Signalbox in memory for the tests of handlers.

export {
  createMockModel,
  type MockModel,
  type MockReply,
  type MockRule,
  type MockScript,
} from "../models/mock-model.ts";
export { type Recording, recordRun } from "./recording.ts";
export { replayRun } from "./replay.ts";
export {
  openTestSignalbox,
  type TestDecision,
  type TestOptions,
  type TestRun,
  type TestRunRequest,
  type TestSignalbox,
} from "./signalbox.ts";
