"""A bot's files: who may upload, what an edit makes of them, which versions keep them, and when they go."""

import os
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.files.storage import default_storage
from django.utils import timezone
from rest_framework.test import APIClient

from bedrock_chat.audit.models import AuditEntry
from bedrock_chat.blobs import removal, uploads
from bedrock_chat.blobs.models import Blob, BlobReference
from bedrock_chat.identity import erasing, exporting
from bedrock_chat.identity.caller import Program
from bedrock_chat.identity.models import User
from bedrock_chat.jobs import queue
from bedrock_chat.wire.errors import BadRequest
from bots import content, files
from bots.configuration import FileEntry
from bots.content import Content
from bots.files import BLOB_OWNER, MEDIA_TYPES
from bots.models import Bot, BotFile, BotVersion
from tests import build
from tests.bots import upload
from tests.bots.bot import body, edit, make, payload, read
from tests.bots.test_parts import BASE
from tests.bots.upload import ask, change, digest, files_of, put, sources, url
from tests.bots.upload import removal as removal_of
from tests.together import at_once

pytestmark = [pytest.mark.both, pytest.mark.django_db]

ONE, TWO = b"What Alice knows.", b"What she has learnt since."


def held() -> set[str]:
    """The digests of all files that bots refer to."""
    references = BlobReference.objects.filter(owner_kind=BLOB_OWNER)
    assert references.count() == BotFile.objects.count()
    return set(references.values_list("blob_id", flat=True))


def stored() -> list[str]:
    """The digests of all blobs in storage, and whatever else lies there."""
    paths = sorted(path for path in Path(default_storage.path("")).rglob("*") if path.is_file())
    return [path.name.partition("-")[0] if path.parent.name != uploads.FOLDER else path.name for path in paths]


def age() -> None:
    """Two days go by, and the jobs run."""
    before = time.time() - 2 * 86_400
    for path in Path(default_storage.path("")).rglob("*"):
        os.utime(path, (before, before))
    Blob.objects.update(stored_at=timezone.now() - timedelta(days=2))
    for kind, handler in (("remove uploads", uploads.remove_unclaimed), ("remove blobs", removal.remove_unreferenced)):
        queue.enqueue(kind)
        [job] = [job for job in queue.claim("worker", 1000) if job.kind == kind]
        handler(job)
        job.finish()


# ---- Uploading ------------------------------------------------------------------------------------------------------


def test_a_file_is_uploaded_before_the_bot_exists_and_kept_with_it(alice: APIClient) -> None:
    upload.upload(alice, "b", "a.txt", ONE)
    made = make(alice, "b", knowledge=sources("a.txt"))
    [file] = made["files"]
    assert file == {"filename": "a.txt", "digest": digest(ONE), "size": len(ONE), "contentType": "text/plain"}
    assert (made["knowledge"]["filenames"], made["syncStatus"]) == (["a.txt"], "QUEUED")
    assert read(alice, "b")["files"] == [file]
    assert stored() == [digest(ONE)]
    assert held() == {digest(ONE)}


@pytest.mark.parametrize(
    "name",
    [
        "../a.txt",
        "..",
        "/etc/a.txt",
        "a/b.txt",
        "a\\b.txt",
        "C:\\a.txt",
        ".txt",
        "a\x00.txt",
        "a\n.txt",
        "a\x7f.txt",
        " a.txt",
        "a.txt ",
        "",
        "x" * 252 + ".txt",
        "a.exe",
        "a.txt.sh",
        "txt",
        "a.",
        "invoice\u202efdp.rtf",
        "a\u200bb.txt",
        "a\u200db.txt",
        "\ufeffa.txt",
        "a\u2066.txt",
        "a\U000e0041.txt",
    ],
)
def test_a_name_with_a_path_or_of_another_type_is_refused(alice: APIClient, name: str) -> None:
    assert ask(alice, "b", name).status_code == 400


def test_a_type_that_is_not_taken_is_refused_with_what_helps(alice: APIClient) -> None:
    detail = ask(alice, "b", "a.odt").json()["detail"]
    assert detail.endswith(" This type of file is not supported; save it as DOCX.")
    assert "save" not in ask(alice, "b", "a.exe").json()["detail"]


@pytest.mark.parametrize(
    "name",
    [
        "a..b.txt",
        "表 (1).txt",
        "naïve🙂.TXT",
        "نامه\u200cها.txt",
        "👩\u200d💻.txt",
        "x" * 251 + ".txt",
        "a'\"<&?#%2e%2f.txt",
    ],
)
def test_any_other_name_is_a_name_and_never_a_path(alice: APIClient, name: str) -> None:
    upload.upload(alice, "b", name, ONE)
    assert all(entry.startswith(tuple("0123456789abcdef")) for entry in stored())
    made = make(alice, "b", knowledge=sources(name))
    assert files_of(made) == {name: digest(ONE)}


def test_each_type_is_taken_and_no_other_content(alice: APIClient) -> None:
    assert " ".join(MEDIA_TYPES) == "txt md html csv tsv json xls xlsx ods doc docx pptx rtf pdf"
    for ending, content_type in MEDIA_TYPES.items():
        assert ask(alice, "b", f"a.{ending.upper()}", content_type).status_code == 200
    for content_type in ("", "application/octet-stream", "text/plain; charset=utf-8"):
        assert ask(alice, "b", "a.txt", content_type).status_code == 200
    for content_type in ("image/png", "text", "text/", "text/a b", "text/plain\nX-Evil: 1", "text/" + "x" * 300):
        assert ask(alice, "b", "a.txt", content_type).status_code == 400


def test_both_spellings_of_the_query_are_known_and_both_parts_needed(alice: APIClient) -> None:
    assert alice.get("/bot/b/presigned-url?filename=a.txt&content_type=text/plain").status_code == 200
    refused = alice.get("/bot/b/presigned-url")
    assert refused.status_code == 400
    assert refused.json()["errors"] == ["filename: This field is required.", "contentType: This field is required."]


def test_who_may_make_no_bots_uploads_to_those_that_they_may_edit_alone(
    alice: APIClient, bob: APIClient, client_of: Any
) -> None:
    make(alice, "b")
    assert ask(bob, "new-bot", "a.txt").status_code == 403
    assert ask(bob, "b", "a.txt").status_code == 403
    assert ask(client_of("dave", "CreatingBotAllowed"), "b", "a.txt").status_code == 403
    assert ask(client_of("alice"), "b", "a.txt").status_code == 200
    assert ask(client_of("alice"), "new-bot", "a.txt").status_code == 403


def test_what_somebody_else_uploaded_cannot_be_reached(alice: APIClient, carol: APIClient) -> None:
    """Carol is Admin, and may edit Alice's bot."""
    upload.upload(alice, "b", "a.txt", ONE)
    assert carol.post("/bot", payload("b", knowledge=sources("a.txt")), format="json").status_code == 404
    make(alice, "b")
    assert edit(carol, "b", knowledge=change(added=["a.txt"])).status_code == 404
    assert removal_of(carol, "b", "a.txt").status_code == 200
    assert files_of(body(edit(alice, "b", knowledge=change(added=["a.txt"])))) == {"a.txt": digest(ONE)}


def test_what_was_uploaded_for_one_bot_is_not_another_ones(alice: APIClient) -> None:
    upload.upload(alice, "b", "a.txt", ONE)
    assert alice.post("/bot", payload("c", knowledge=sources("a.txt")), format="json").status_code == 404
    assert not Bot.objects.exists()


def test_a_removed_upload_is_gone_and_a_bots_own_file_is_not(alice: APIClient) -> None:
    upload.upload(alice, "b", "a.txt", ONE)
    make(alice, "b", knowledge=sources("a.txt"))
    upload.upload(alice, "b", "a.txt", TWO)
    for _ in range(2):
        assert body(removal_of(alice, "b", "a.txt")) is None
    edited = body(edit(alice, "b", title="New", knowledge=change(added=["a.txt"])))
    assert files_of(edited) == {"a.txt": digest(ONE)}
    assert stored() == [digest(ONE)]


# ---- Edits and versions ---------------------------------------------------------------------------------------------


def test_an_edit_adds_keeps_and_removes_files(alice: APIClient) -> None:
    for name, known in (("a.txt", ONE), ("b.txt", TWO)):
        upload.upload(alice, "b", name, known)
    make(alice, "b", knowledge=sources("a.txt", "b.txt"))
    upload.upload(alice, "b", "c.txt", b"3")
    edited = body(edit(alice, "b", knowledge=change(unchanged=["b.txt"], added=["c.txt"])))
    assert files_of(edited) == {"b.txt": digest(TWO), "c.txt": digest(b"3")}
    assert edited["version"] == 2
    assert set(alice.get("/bot/b/versions").json()[0]["changed"]) == {"knowledge", "files"}
    unchanged = body(edit(alice, "b", knowledge=change(unchanged=["b.txt", "c.txt"])))
    assert unchanged["version"] == 2
    assert edit(alice, "b", knowledge=change(unchanged=["a.txt"])).status_code == 404


@pytest.mark.django_db(transaction=True)
def test_a_file_of_the_same_name_replaces_it_in_the_newest_version_alone(alice: APIClient) -> None:
    upload.upload(alice, "b", "a.txt", ONE)
    make(alice, "b", knowledge=sources("a.txt"))
    upload.upload(alice, "b", "a.txt", TWO)
    edited = body(edit(alice, "b", knowledge=change(added=["a.txt"])))
    assert (edited["version"], files_of(edited)) == (2, {"a.txt": digest(TWO)})
    assert files_of(body(alice.get("/bot/b/versions/1"))) == {"a.txt": digest(ONE)}
    changes = body(alice.get("/bot/b/versions/2"))["changes"]
    assert [changes["files"][when][0]["digest"] for when in ("before", "after")] == [digest(ONE), digest(TWO)]
    assert held() == {digest(ONE), digest(TWO)}
    age()
    restored = body(alice.post("/bot/b/versions/1/restore"))
    assert files_of(restored) == {"a.txt": digest(ONE)}
    assert build.body_of(digest(ONE)) == ONE


def test_the_same_bytes_again_change_nothing_and_under_two_names_are_held_once(alice: APIClient) -> None:
    for name in ("a.txt", "b.txt"):
        upload.upload(alice, "b", name, ONE)
    make(alice, "b", knowledge=sources("a.txt", "b.txt"))
    assert BotFile.objects.count() == 1
    upload.upload(alice, "b", "a.txt", ONE)
    assert body(edit(alice, "b", knowledge=change(unchanged=["a.txt", "b.txt"], added=["a.txt"])))["version"] == 1
    assert stored() == [digest(ONE)]


def test_a_file_that_is_added_keeps_the_knowledge_bases_id(alice: APIClient) -> None:
    base = {**BASE, "knowledgeBaseId": "KB12345678"}
    make(alice, "b", bedrockKnowledgeBase=base)
    upload.upload(alice, "b", "a.txt", ONE)
    for sent in ({}, {"bedrockKnowledgeBase": {**base, "knowledgeBaseId": None}}, {"bedrockKnowledgeBase": BASE}):
        body(edit(alice, "b", knowledge=change(added=["a.txt"]), **sent))
        assert read(alice, "b")["bedrockKnowledgeBase"]["knowledgeBaseId"] == "KB12345678"


def test_an_edit_that_is_refused_leaves_the_upload_for_the_next_one(alice: APIClient) -> None:
    make(alice, "b")
    edit(alice, "b", title="Somebody was faster")
    upload.upload(alice, "b", "a.txt", ONE)
    assert edit(alice, "b", baseVersion=1, knowledge=change(added=["a.txt"])).status_code == 409
    assert edit(alice, "b", knowledge=change(added=["a.txt", "none.txt"])).status_code == 404
    assert files_of(body(edit(alice, "b", baseVersion=2, knowledge=change(added=["a.txt"])))) == {"a.txt": digest(ONE)}


@pytest.mark.django_db(transaction=True)
def test_the_same_file_added_by_two_edits_at_once_is_one(client_of: Any) -> None:
    clients = [client_of("alice", "CreatingBotAllowed") for _ in range(3)]
    make(clients[0], "b")
    upload.upload(clients[0], "b", "a.txt", ONE)
    edits = at_once(*(lambda client=client: edit(client, "b", knowledge=change(added=["a.txt"])) for client in clients))
    assert [files_of(body(edited)) for edited in edits] == [{"a.txt": digest(ONE)}] * 3
    assert (read(clients[0], "b")["version"], stored(), held()) == (2, [digest(ONE)], {digest(ONE)})


@pytest.mark.django_db(transaction=True)
def test_files_added_by_edits_at_once_are_all_there(client_of: Any) -> None:
    clients = [client_of("alice", "CreatingBotAllowed") for _ in range(4)]
    make(clients[0], "b")
    names = [f"{number}.txt" for number in range(4)]

    def add(client: APIClient, name: str) -> None:
        upload.upload(client, "b", name, b"the same bytes")
        change_of = {name: value for name, value in change(added=[name]).items() if name != "unchangedFilenames"}
        body(edit(client, "b", knowledge=change_of))

    at_once(*(lambda client=client, name=name: add(client, name) for client, name in zip(clients, names, strict=True)))
    final = read(clients[0], "b")
    assert (set(files_of(final)), final["version"], BotFile.objects.count()) == (set(names), 5, 1)


def test_one_edit_adds_a_bounded_number_of_files_and_of_bytes(
    alice: APIClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "MOST_AT_ONCE", 2)
    make(alice, "b")
    names = ["a.txt", "b.txt", "c.txt"]
    for name in names:
        upload.upload(alice, "b", name, name.encode())
    assert edit(alice, "b", knowledge=change(added=names)).status_code == 400
    monkeypatch.setattr(files, "MOST_MEGABYTES_AT_ONCE", 0)
    assert edit(alice, "b", knowledge=change(added=names[:1])).status_code == 413
    assert held() == set()
    monkeypatch.undo()
    assert set(files_of(body(edit(alice, "b", knowledge=change(added=names))))) == set(names)


def test_a_bot_has_a_thousand_files_at_most() -> None:
    uploaded: dict[str, FileEntry] = {f"{number}.txt": {"sha256": digest(ONE), "size": 1} for number in range(1001)}
    names = list(uploaded)
    full = content.edited(Content(), {"knowledge": {"filenames": names[:1000]}}, uploaded)
    assert full.configuration["knowledge"]["filenames"] == names[:1000]
    with pytest.raises(BadRequest):
        content.edited(full, {"knowledge": {"added_filenames": names[1000:]}}, uploaded)


# ---- Going ----------------------------------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_what_no_version_names_any_more_goes(alice: APIClient, settings: Any) -> None:
    settings.BOT_VERSIONS = 2
    upload.upload(alice, "b", "a.txt", ONE)
    make(alice, "b", knowledge=sources("a.txt"))
    edit(alice, "b", knowledge=change())
    age()
    assert (held(), stored()) == ({digest(ONE)}, [digest(ONE)])
    edit(alice, "b", title="The version with the file is too old now")
    age()
    assert (held(), stored(), BotFile.objects.count()) == (set(), [], 0)


@pytest.mark.django_db(transaction=True)
def test_a_bot_that_is_deleted_takes_its_files_along_and_not_those_of_others(alice: APIClient) -> None:
    for bot_id in ("b", "c"):
        for name, known in (("a.txt", ONE), ("own.txt", bot_id.encode())):
            upload.upload(alice, bot_id, name, known)
        make(alice, bot_id, knowledge=sources("a.txt", "own.txt"))
    alice.delete("/bot/b")
    age()
    assert sorted(stored()) == sorted([digest(ONE), digest(b"c")])
    assert held() == {digest(ONE), digest(b"c")}


def test_what_is_never_claimed_goes_after_a_day(alice: APIClient) -> None:
    upload.upload(alice, "b", "a.txt", ONE)
    path = url(alice, "b", "b.txt")
    age()
    assert stored() == []
    assert put(path, TWO).status_code == 200  # the day is the file's
    assert len(stored()) == 1


@pytest.mark.django_db(transaction=True)
def test_a_file_is_removed_from_all_versions(alice: APIClient, bob: APIClient) -> None:
    for name in ("a.txt", "same.txt"):
        upload.upload(alice, "b", name, ONE)
    upload.upload(alice, "b", "b.txt", TWO)
    make(alice, "b", knowledge=sources("a.txt", "b.txt", "same.txt"))
    edit(alice, "b", title="Another")
    assert bob.delete(f"/bot/b/files/{digest(ONE)}").status_code == 403
    assert body(alice.delete(f"/bot/b/files/{digest(ONE)}")) is None
    assert read(alice, "b")["version"] == 3
    for number in (1, 2, 3):
        assert files_of(body(alice.get(f"/bot/b/versions/{number}"))) == {"b.txt": digest(TWO)}
    assert held() == {digest(TWO)}
    for gone in (digest(ONE), "0", "%00", "x" * 300):
        assert alice.delete(f"/bot/b/files/{gone}").status_code in (404, 400)
    age()
    assert stored() == [digest(TWO)]
    entry = AuditEntry.objects.get(verb="remove file")
    assert (entry.target_id, entry.values, entry.version_after) == ("b", {"digests": [digest(ONE)]}, 3)


def test_a_file_that_only_older_versions_have_is_removed_without_a_new_one(alice: APIClient, carol: APIClient) -> None:
    upload.upload(alice, "b", "a.txt", ONE)
    make(alice, "b", knowledge=sources("a.txt"))
    edit(alice, "b", knowledge=change())
    assert body(carol.delete(f"/bot/b/files/{digest(ONE)}")) is None
    assert (read(alice, "b")["version"], BotVersion.objects.count(), held()) == (2, 2, set())
    assert files_of(body(alice.get("/bot/b/versions/1"))) == {}


# ---- A person's data ------------------------------------------------------------------------------------------------


def test_an_export_has_the_files_of_all_versions(alice: APIClient, tmp_path: Path) -> None:
    upload.upload(alice, "b", "a.txt", ONE)
    make(alice, "b", knowledge=sources("a.txt"))
    upload.upload(alice, "b", "a.txt", TWO)
    edit(alice, "b", knowledge=change(added=["a.txt"]))
    build.lose(digest(TWO))
    sentences = list(exporting.export(User.objects.get(username="alice").pk, tmp_path / "export"))
    assert {"1 files of bots", f"The file {digest(TWO)} of a bot is lost"} <= set(sentences)
    folder = tmp_path / "export" / "bot-files"
    assert [path.name for path in folder.iterdir()] == [digest(ONE)]
    assert (folder / digest(ONE)).read_bytes() == ONE


@pytest.mark.django_db(transaction=True)
def test_who_is_erased_leaves_no_file(alice: APIClient, carol: APIClient) -> None:
    for client, bot_id in ((alice, "b"), (carol, "c")):
        upload.upload(client, bot_id, "a.txt", bot_id.encode())
        make(client, bot_id, knowledge=sources("a.txt"))
    upload.upload(alice, "b", "unclaimed.txt", ONE)
    path = url(alice, "b", "later.txt")
    list(erasing.erase(User.objects.get(username="alice").pk, actor=Program.command("erase_user")))
    assert put(path, TWO).status_code == 403
    age()
    assert (held(), stored()) == ({digest(b"c")}, [digest(b"c")])
