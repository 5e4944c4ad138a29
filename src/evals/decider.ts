import { create, equals } from "@bufbuild/protobuf";
import { Zone } from "../../gen/signalbox/v1/common_pb.ts";
import { SuiteArchivedSchema, SuitePutSchema } from "../../gen/signalbox/v1/eval_event_pb.ts";
import { type Suite, SuiteSchema } from "../../gen/signalbox/v1/eval_pb.ts";
import type { Draft } from "../eventlog/aggregates.ts";
import { SignalboxError } from "../kernel/errors.ts";
import type { SuiteState } from "./state.ts";
import { completeThresholds } from "./thresholds.ts";

/**
 * suite.put, with the next version; nothing when the suite says this already and is in use, whatever the etag, so that a put may
 * be repeated. ETAG_MISMATCH. That its checks can be made is seen to before.
 */
export function putSuite(state: SuiteState, wanted: Suite): Draft | undefined {
  const before = state.status === "absent" ? undefined : state.suite;
  const version = before?.version ?? 0n;
  const suite = contentOf({ ...wanted, version });
  if (state.status === "active" && equals(SuiteSchema, suite, contentOf(state.suite))) return undefined;
  requireEtag(before?.etag ?? "", wanted.etag);
  const value = create(SuitePutSchema, { suite: { ...suite, version: version + 1n } });
  return { payload: { case: "suitePut", value }, zone: Zone.SANDBOX };
}

/** suite.archived; nothing when it is archived already. SUITE_NOT_FOUND. */
export function archiveSuite(state: SuiteState, suiteId: string): Draft | undefined {
  switch (state.status) {
    case "absent":
      throw suiteNotFound(suiteId);
    case "archived":
      return undefined;
    case "active":
      return { payload: { case: "suiteArchived", value: create(SuiteArchivedSchema) }, zone: Zone.SANDBOX };
  }
}

/** Unknown ids and ids of another tenant look the same. */
export function suiteNotFound(which: string, version = 0n): SignalboxError {
  const what = version === 0n ? `suite ${which} does` : `version ${version} of suite ${which} does`;
  return new SignalboxError("SUITE_NOT_FOUND", `${what} not exist in this workspace`);
}

/** What a put says, with the defaults filled in. */
function contentOf({ name, version, description, cases, thresholds }: Suite): Suite {
  const weighted = cases.map((one) => ({ ...one, weight: one.weight || 1 }));
  return create(SuiteSchema, {
    name,
    version,
    description,
    cases: weighted,
    thresholds: completeThresholds(thresholds),
  });
}

function requireEtag(present: string, given: string): void {
  if (given === "" || given === present) return;
  throw new SignalboxError(
    "ETAG_MISMATCH",
    `the suite has changed since etag ${JSON.stringify(given)} was read; read it again and repeat the put`,
    { etag: present },
  );
}
