"""Whether what is stored is what the clients were told."""

import json
import time
from collections import Counter
from typing import Any

from tests.soak.clients import Person, Record, Told
from tests.soak.processes import GRACE_SECONDS, LEASE_SECONDS, Deployment

INSIDE = """
import json
from pathlib import Path
from django.conf import settings
from bedrock_chat.database import database_now
from bedrock_chat.blobs import Blob, BlobReference, name_of
from bedrock_chat.jobs.models import Job
from conversations.models import Conversation, Message, ModelCall, Outcome
files = {path.name for path in (settings.DATA_DIR / "blobs").rglob("*") if path.is_file()}
referred = set(BlobReference.objects.values_list("blob_id", flat=True))
print(json.dumps({
    "leases": Message.objects.filter(lease_expires_at__gt=database_now()).count(),
    "runningJobs": Job.objects.filter(state="running").count(),
    "deadJobs": list(Job.objects.filter(state="dead").values_list("kind", "reason")),
    "filesWithoutOwner": sorted(files - referred)[:5],
    "ownersWithoutFile": sorted(referred - files)[:5],
    "referencesWithoutConversation": BlobReference.objects.filter(owner_kind="conversation")
        .exclude(owner_id__in=Conversation.objects.values("pk")).count(),
    "conversations": Conversation.objects.count(),
    "messages": Message.objects.count(),
    "calls": ModelCall.objects.count(),
    "files": len(files),
}))
"""


def check(record: Record, deployment: Deployment, people: dict[str, Person]) -> dict[str, Any]:
    """Findings, each a sentence, and what was counted. Waits until leases and graces are over."""
    time.sleep(LEASE_SECONDS + 1)
    findings: list[str] = []
    conversations: dict[tuple[str, str], list[Told]] = {}
    for told in record.told:
        conversations.setdefault((told.user, told.conversation), []).append(told)
    for (user, conversation), all_told in conversations.items():
        status, stored = people[user].call("GET", f"/conversation/{conversation}")
        if (user, conversation) in record.deleted:
            if status != 404:
                findings.append(f"{conversation} was deleted and is there")
        elif status != 200:
            if any(told.text is not None for told in all_told):
                findings.append(f"{conversation} is not there: {status}")
        else:
            for told in all_told:
                findings += _compare(told, stored["messageMap"])
    findings += [f"{told.conversation}: {told.problem}" for told in record.told if told.problem]
    inside = _inside(deployment)
    for name in ("leases", "runningJobs", "referencesWithoutConversation"):
        if inside[name]:
            findings.append(f"{inside[name]} {name} are left")
    for name in ("deadJobs", "filesWithoutOwner", "ownersWithoutFile"):
        if inside[name]:
            findings.append(f"{name}: {inside[name]}")
    faults = _unhandled(deployment)
    findings += [f"in the log: {line}" for line in faults[:5]]
    return {
        "questions": len(record.told),
        "byWay": dict(Counter(told.how for told in record.told)),
        "tries": sum(told.tries for told in record.told),
        "answered": sum(told.text is not None for told in record.told),
        "stopped": sum(told.stop_reason == "stopped" for told in record.told),
        "deletedConversations": len(record.deleted),
        "stored": inside,
        "findings": findings,
    }


def _compare(told: Told, stored: dict[str, Any]) -> list[str]:
    """What is wrong with one question: lost, changed, or there twice."""
    question = stored.get(told.question)
    where = f"{told.conversation}/{told.question} ({told.how}, {told.tries} tries)"
    if question is None:
        return [f"{where}: the question is lost"] if told.text is not None else []
    if question["content"] != told.content:
        return [f"{where}: the question is another one"]
    answers = {name: stored[name] for name in question["children"]}
    texts = {name: _text(each) for name, each in answers.items()}
    whole = [name for name, each in answers.items() if each.get("stopReason") != "interrupted"]
    found = []
    if len(whole) > 1:
        found.append(f"{where}: {len(whole)} whole answers")
    if told.answer is not None and texts.get(told.answer) != told.text:
        found.append(f"{where}: told {told.text!r:.80}, stored {texts.get(told.answer)!r:.80}")
    elif told.text is not None and told.text not in texts.values():
        found.append(f"{where}: the answer is lost: told {told.text!r:.80}, stored {list(texts.values())!r:.200}")
    return found


def _inside(deployment: Deployment) -> dict[str, Any]:
    """What the database and the folder of files say, once the removal of blobs has run."""
    time.sleep(GRACE_SECONDS)
    deployment.manage(
        "shell", "--no-imports", "-c", "from bedrock_chat.jobs import queue; queue.enqueue('remove blobs')"
    )
    code = "from bedrock_chat.jobs.models import Job; print(Job.objects.filter(kind='remove blobs', key=None).count())"
    end = time.monotonic() + 60
    while deployment.manage("shell", "--no-imports", "-c", code) != "0" and time.monotonic() < end:
        time.sleep(0.5)
    found: dict[str, Any] = json.loads(deployment.manage("shell", "--no-imports", "-c", INSIDE).splitlines()[-1])
    return found


def _text(message: dict[str, Any]) -> str:
    return "".join(block["body"] for block in message["content"] if block["contentType"] == "text")


def _unhandled(deployment: Deployment) -> list[str]:
    """Faults of our own that were logged."""
    lines = deployment.log.read_text(errors="replace").splitlines()
    return [line[:300] for line in lines if '"level":"error"' in line and "unhandled" in line]
