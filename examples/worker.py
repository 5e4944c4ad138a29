"""Sends mail once somebody has approved it. Python 3.9, no packages."""

import json, os, threading, time, urllib.error, urllib.request

SERVER = os.environ.get("SIGNALBOX_URL", "http://127.0.0.1:8080")


class Refused(Exception):
    """Why the server refused a call."""

    def __init__(self, error):
        super().__init__(error["message"])
        infos = [detail for detail in error.get("details", []) if detail["type"] == "google.rpc.ErrorInfo"]
        info = infos[0]["debug"] if infos else {}
        self.code, self.reason, self.metadata = error["code"], info.get("reason", ""), info.get("metadata", {})


def call(method, **request):
    """Repeats the call until the server answers: under a lease each may be repeated."""
    url, headers = f"{SERVER}/signalbox.v1.{method}", {"content-type": "application/json"}
    post = urllib.request.Request(url, json.dumps(request).encode(), headers)
    while True:
        try:
            with urllib.request.urlopen(post) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as answer:
            refused = Refused(json.load(answer))
            if refused.code != "unavailable":
                raise refused
        except OSError:
            pass  # No connection.
        time.sleep(1)


def heartbeat(lease, ttl, ended):
    try:
        while not ended.wait(ttl / 3):
            call("EngineService/Heartbeat", leaseToken=lease)
    except Refused:
        pass  # The lease is lost: the next write hears of it.


def send_mail(mail, lease, send):
    """One attempt, from the beginning. The key is the same in each, so that the mail is one tool call."""
    tool = {"key": "mail", "tool": "mail.send", "effect": "TOOL_EFFECT_EXTERNAL_WRITE"}
    while True:
        try:
            started = call("EngineService/StartToolCall", leaseToken=lease, **tool, arguments=mail)["toolCall"]
            break
        except Refused as refused:
            if refused.reason != "APPROVAL_REQUIRED":
                raise
            wait = {"approval": {"approvalId": refused.metadata["approval_id"]}}
            if call("EngineService/SuspendRun", leaseToken=lease, conditions=[wait]).get("suspended"):
                return  # When people have decided, the run is claimed again, here or elsewhere.
    if started["status"] == "TOOL_CALL_STATUS_STARTED":  # Otherwise an earlier attempt has sent it.
        approved = started.get("arguments", mail)  # People may have edited them; absent when nobody was asked.
        result = send(started["toolCallId"], approved)
        call("EngineService/SucceedToolCall", leaseToken=lease, toolCallId=started["toolCallId"], result=result)
    call("EngineService/CompleteRun", leaseToken=lease, output="sent")


def attempt(claim, send):
    lease, ttl, ended = claim["leaseToken"], float(claim["leaseTtl"].rstrip("s")), threading.Event()
    threading.Thread(target=heartbeat, args=(lease, ttl, ended), daemon=True).start()
    try:
        send_mail(claim["run"]["input"], lease, send)
    except Refused as refused:
        if refused.reason in ("KILL_SWITCH_ON", "PAUSE_REQUESTED", "BUDGET_EXCEEDED"):
            call("EngineService/ReleaseRun", leaseToken=lease)  # Pauses the run until somebody resumes it.
        elif refused.reason != "LEASE_LOST":  # With the lease the run is somebody else's.
            error = {"code": refused.reason, "message": str(refused)}
            call("EngineService/FailRun", leaseToken=lease, error=error)
    finally:
        ended.set()


while True:
    claim = call("EngineService/ClaimRun", handlers=["send_mail"], workerId="python")
    if "run" in claim:
        attempt(claim, lambda key, mail: print("sent", json.dumps(mail), flush=True))
