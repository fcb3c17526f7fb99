"""Compares what is stored with what the clients received."""

import json
import time
from collections import Counter
from typing import Any

from tests.soak.clients import Exchange, Person, Record
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
from conversations.search import indexing
from conversations.content.blocks import texts as words_of
from bedrock_chat.ledger.models import ModelCall
from conversations.models import Conversation, Message
files = {path.name for path in (settings.DATA_DIR / "blobs").rglob("*") if path.is_file()}
shas = set(BlobReference.objects.values_list("blob_id", flat=True))
referred = {name.rpartition("/")[2] for name in locate(shas).values()}
texts = {(row.pk, 0): indexing._title(row).text for row in Conversation.objects.all()}
texts |= {(row.conversation_id, row.pk): "\\n".join(words_of(row.content)) for row in Message.objects.all()}
expected = {key: words for key, text in texts.items() if (words := index.words_of(text)) or key[1]}
documents = list(SearchDocument.objects.values_list("group_id", "key", "vocabulary", "words"))
words = vocabulary.Change()
for _, _, owner, text in documents:
    vocabulary.count(words, owner, text, 1)
columns = SearchWord.objects.values_list("vocabulary", "word", "documents")
counted = {(owner, word): count for owner, word, count in columns}
print(json.dumps({
    "leases": Message.objects.filter(lease_expires_at__gt=database_now()).count(),
    "jobsWithoutWorker": Job.objects.filter(state="running", due_at__lt=database_now()).count(),
    "conversationsNotIndexed": Conversation.objects.to_be_indexed().count(),
    "differencesOfIndex": len(expected.items() ^ {(group, key): text for group, key, _, text in documents}.items()),
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
"""Names of the counts that must be zero in the end."""


def check(record: Record, deployment: Deployment, people: dict[str, Person]) -> dict[str, Any]:
    """Findings, each a sentence, and what was counted.

    1. Wait until leases are over.
    2. Compare each exchange with its stored conversation. A deleted conversation must be gone.
    3. Collect the problems that clients have noted.
    4. Count what the database and the folder of files hold. Search for each conversation.
    5. Look for faults in the log.
    """
    time.sleep(LEASE_SECONDS + 1)
    findings: list[str] = []
    conversations: dict[tuple[str, str], list[Exchange]] = {}
    for exchange in record.exchanges:
        conversations.setdefault((exchange.user, exchange.conversation), []).append(exchange)
    for (user, conversation), exchanges in conversations.items():
        status, stored = people[user].call("GET", f"/conversation/{conversation}")
        if (user, conversation) in record.deleted:
            if status != 404:
                findings.append(f"{conversation} was deleted and is there")
        elif status != 200:
            if any(exchange.text is not None for exchange in exchanges):
                findings.append(f"{conversation} is not there: {status}")
        else:
            for exchange in exchanges:
                findings += _compare(exchange, stored["messageMap"])
    findings += [f"{exchange.conversation}: {exchange.problem}" for exchange in record.exchanges if exchange.problem]
    figures = _inside(deployment)
    findings += [finding for key in conversations if (finding := _search(people[key[0]], key, record))]
    for name in LEFT:
        if figures[name]:
            findings.append(f"{figures[name]} {name} are left")
    for name in ("deadJobs", "filesWithoutOwner", "ownersWithoutFile"):
        if figures[name]:
            findings.append(f"{name}: {figures[name]}")
    faults = _unhandled(deployment)
    findings += [f"in the log: {line}" for line in faults[:5]]
    return {
        "questions": len(record.exchanges),
        "byWay": dict(Counter(exchange.transport for exchange in record.exchanges)),
        "tries": sum(exchange.tries for exchange in record.exchanges),
        "answered": sum(exchange.text is not None for exchange in record.exchanges),
        "stopped": sum(exchange.stop_reason == "stopped" for exchange in record.exchanges),
        "deletedConversations": len(record.deleted),
        "stored": figures,
        "findings": findings,
    }


def _compare(exchange: Exchange, stored: dict[str, Any]) -> list[str]:
    """What is wrong with one question: lost, changed, or there twice."""
    question = stored.get(exchange.question)
    where = f"{exchange.conversation}/{exchange.question} ({exchange.transport}, {exchange.tries} tries)"
    if question is None:
        return [f"{where}: the question is lost"] if exchange.text is not None else []
    if question["content"] != exchange.content:
        return [f"{where}: the question is another one"]
    answers = {name: stored[name] for name in question["children"]}
    texts = {name: _text(answer) for name, answer in answers.items()}
    whole = [name for name, answer in answers.items() if answer.get("stopReason") != "interrupted"]
    findings = []
    if len(whole) > 1:
        findings.append(f"{where}: {len(whole)} whole answers")
    if exchange.answer is not None and texts.get(exchange.answer) != exchange.text:
        findings.append(f"{where}: told {exchange.text!r:.80}, stored {texts.get(exchange.answer)!r:.80}")
    elif exchange.text is not None and exchange.text not in texts.values():
        findings.append(
            f"{where}: the answer is lost: told {exchange.text!r:.80}, stored {list(texts.values())!r:.200}"
        )
    return findings


def _search(reader: Person, key: tuple[str, str], record: Record) -> str | None:
    """A conversation is found by the words of its questions, which begin with its id, and a deleted one is not."""
    conversation = key[1]
    status, hits = reader.call("GET", f"/conversations/search?limit=100&query={conversation}")
    exists = reader.call("GET", f"/conversation/{conversation}")[0] == 200
    is_found = status == 200 and any(hit["id"] == conversation for hit in hits)
    return None if is_found == (exists and key not in record.deleted) else f"{conversation}: found is {is_found}"


def _inside(deployment: Deployment) -> dict[str, Any]:
    """Figures of the database and of the folder of files, once the removal of blobs and the indexing have run."""
    time.sleep(GRACE_SECONDS)
    deployment.manage(
        "shell", "--no-imports", "-c", "from bedrock_chat.jobs import queue; queue.enqueue('remove blobs')"
    )
    end = time.monotonic() + 60
    while deployment.manage("shell", "--no-imports", "-c", WAITING) != "0" and time.monotonic() < end:
        time.sleep(0.5)
    figures: dict[str, Any] = json.loads(deployment.manage("shell", "--no-imports", "-c", INSIDE).splitlines()[-1])
    return figures


def _text(message: dict[str, Any]) -> str:
    return "".join(block["body"] for block in message["content"] if block["contentType"] == "text")


def _unhandled(deployment: Deployment) -> list[str]:
    """Log lines of unhandled errors, each cut to 300 characters."""
    lines = deployment.log.read_text(errors="replace").splitlines()
    return [line[:300] for line in lines if '"level":"error"' in line and "unhandled" in line]
