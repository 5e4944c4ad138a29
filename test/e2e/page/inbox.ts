import { createClient, type Interceptor } from "@connectrpc/connect";
import { createConnectTransport } from "@connectrpc/connect-web";
import { toJsonString } from "@bufbuild/protobuf";
import { ApprovalSchema, ApprovalVerdict } from "../../../gen/signalbox/v1/approval_pb.ts";
import { ApprovalService } from "../../../gen/signalbox/v1/approval_service_pb.ts";
import { EventService } from "../../../gen/signalbox/v1/event_service_pb.ts";
import { baseUrl, clicked, show } from "./elements.ts";

// A page that shows what people are asked, as it comes, and approves it in Alice's name.

const identified: Interceptor = (next) => (request) => {
  request.header.set("x-workspace-id", "ws_inbox");
  request.header.set("x-on-behalf-of", "user:alice");
  return next(request);
};

const transport = createConnectTransport({ baseUrl, interceptors: [identified] });
const approvals = createClient(ApprovalService, transport);
const events = createClient(EventService, transport);

try {
  for await (const { frame } of events.subscribe({ filter: { types: ["approval.requested"] } })) {
    if (frame.case === "ready") show("ready", "nothing yet");
    if (frame.case !== "event") continue;
    const { approval } = await approvals.getApproval({ approvalId: frame.value.stream?.id ?? "" });
    if (approval === undefined) throw new Error("the answer has no approval");
    show("", toJsonString(ApprovalSchema, approval), "approval");
    await clicked("approve");
    const { approvalId, payloadDigest } = approval;
    await approvals.decideApproval({ approvalId, payloadDigest, verdict: ApprovalVerdict.APPROVE });
    show("decided", approvalId);
  }
} catch (error) {
  show("error", String(error));
}
