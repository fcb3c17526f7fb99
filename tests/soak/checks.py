"""Whether what is stored is what the clients were told."""

import json
import time
from collections import Counter
from typing import Any

from tests.soak.clients import Person, Record, Told
from tests.soak.processes import GRACE_SECONDS, LEASE_SECONDS, Deployment

WAITING = """
from bedrock_chat.jobs.models import Job
from conversations.models import Conversation
print(Job.objects.filter(kind="remove blobs", key=None).count() + Conversation.objects.to_be_indexed().count())
"""

INSIDE = """
import json
from pathlib import Path
from django.conf import settings
from bedrock_chat.database.connections import database_now
from bedrock_chat.blobs.models import BlobReference
from bedrock_chat.blobs.storing import locate
from bedrock_chat.jobs.models import Job
from bedrock_chat.search import index, vocabulary
from bedrock_chat.search.models import SearchDocument, SearchWord
from conversations import indexing
from conversations.content.blocks import texts as words_of
from bedrock_chat.ledger.models import ModelCall
from conversations.models import Conversation, Message
files = {path.name for path in (settings.DATA_DIR / "blobs").rglob("*") if path.is_file()}
shas = set(BlobReference.objects.values_list("blob_id", flat=True))
referred = {name.rpartition("/")[2] for name in locate(shas).values()}
texts = {(each.pk, 0): indexing._title(each).text for each in Conversation.objects.all()}
texts |= {(each.conversation_id, each.pk): "\n".join(words_of(each.content)) for each in Message.objects.all()}
expected = {key: words for key, text in texts.items() if (words := index.words_of(text)) or key[1]}
documents = list(SearchDocument.objects.values_list("group_id", "key", "vocabulary", "words"))
words = vocabulary.Change()
for _, _, owner, each in documents:
    vocabulary.count(words, owner, each, 1)
columns = SearchWord.objects.values_list("vocabulary", "word", "documents")
counted = {(owner, word): count for owner, word, count in columns}
print(json.dumps({
    "leases": Message.objects.filter(lease_expires_at__gt=database_now()).count(),
    "jobsWithoutWorker": Job.objects.filter(state="running", due_at__lt=database_now()).count(),
    "conversationsNotIndexed": Conversation.objects.to_be_indexed().count(),
    "differencesOfIndex": len(expected.items() ^ {(group, key): each for group, key, _, each in documents}.items()),
    "differencesOfVocabulary": len(words.items() ^ counted.items()),
    "deadJobs": list(Job.objects.filter(state="dead").values_list("kind", "reason")),
    "filesWithoutOwner": sorted(files - referred)[:5],
    "ownersWithoutFile": sorted(referred - files)[:5],
    "referencesWithoutConversation": BlobReference.objects.filter(owner_kind="conversation")
        .exclude(owner_id__in=Conversation.objects.values("pk")).count(),
    "conversations": Conversation.objects.count(),
    "messages": Message.objects.count(),
    "calls": ModelCall.objects.count(),
    "files": len(files),
    "indexedTexts": len(documents),
}))
"""


LEFT = (
    "leases",
    "jobsWithoutWorker",
    "referencesWithoutConversation",
    "conversationsNotIndexed",
    "differencesOfIndex",
    "differencesOfVocabulary",
)
"""Counts of what must not be there in the end."""


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
    findings += [finding for each in conversations if (finding := _search(people[each[0]], each, record))]
    for name in LEFT:
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


def _search(reader: Person, key: tuple[str, str], record: Record) -> str | None:
    """A conversation is found by the words of its questions, which begin with its id, and a deleted one is not."""
    conversation = key[1]
    status, hits = reader.call("GET", f"/conversations/search?limit=100&query={conversation}")
    exists = reader.call("GET", f"/conversation/{conversation}")[0] == 200
    is_found = status == 200 and any(hit["id"] == conversation for hit in hits)
    return None if is_found == (exists and key not in record.deleted) else f"{conversation}: found is {is_found}"


def _inside(deployment: Deployment) -> dict[str, Any]:
    """What the database and the folder of files say, once the removal of blobs and the indexing have run."""
    time.sleep(GRACE_SECONDS)
    deployment.manage(
        "shell", "--no-imports", "-c", "from bedrock_chat.jobs import queue; queue.enqueue('remove blobs')"
    )
    end = time.monotonic() + 60
    while deployment.manage("shell", "--no-imports", "-c", WAITING) != "0" and time.monotonic() < end:
        time.sleep(0.5)
    found: dict[str, Any] = json.loads(deployment.manage("shell", "--no-imports", "-c", INSIDE).splitlines()[-1])
    return found


def _text(message: dict[str, Any]) -> str:
    return "".join(block["body"] for block in message["content"] if block["contentType"] == "text")


def _unhandled(deployment: Deployment) -> list[str]:
    """Faults of our own that were logged."""
    lines = deployment.log.read_text(errors="replace").splitlines()
    return [line[:300] for line in lines if '"level":"error"' in line and "unhandled" in line]
