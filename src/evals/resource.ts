import { create } from "@bufbuild/protobuf";
import { type Suite, SuiteSchema, SuiteStatus } from "../../gen/signalbox/v1/eval_pb.ts";
import type { Event } from "../../gen/signalbox/v1/event_pb.ts";

/** The suite after an event of its stream: each put is a version of its own; undefined before the first. Pure. */
export function evolveSuite(suite: Suite | undefined, event: Event): Suite | undefined {
  const { payload } = event;
  if (payload.case === "suitePut") {
    const { createTime, actor } = event;
    const made = suite ?? create(SuiteSchema, present({ createTime, createBy: actor }));
    return changed(
      { ...(payload.value.suite ?? create(SuiteSchema)), ...begun(made), status: SuiteStatus.ACTIVE },
      event,
    );
  }
  if (suite === undefined || payload.case !== "suiteArchived") return suite;
  return changed({ ...suite, status: SuiteStatus.ARCHIVED }, event);
}

function begun({ createTime, createBy }: Suite): Partial<Suite> {
  return present({ createTime, createBy });
}

/** The suite with what every event moves on. */
function changed(suite: Suite, event: Event): Suite {
  const { workspaceId, stream, streamSequence, createTime, actor, position } = event;
  return {
    ...suite,
    ...present({ updateTime: createTime, updateBy: actor }),
    suiteId: stream?.id ?? "",
    workspaceId,
    etag: String(streamSequence),
    position,
  };
}

type Present<T> = { [K in keyof T]?: Exclude<T[K], undefined> };

function present<T extends object>(fields: T): Present<T> {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as Present<T>;
}
