"""Bots in git: `export_bots` and `import_bots`, there and back, twice, and what they refuse."""

import io
import json
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from rest_framework.test import APIClient

from bedrock_chat.audit.models import AuditEntry
from bedrock_chat.blobs.models import Blob
from bedrock_chat.identity.models import User
from bots.models import Bot, BotFile, BotGrant, BotVersion
from tests.bots.bot import body, document, edit, firecrawl, make, read, share
from tests.bots.test_parts import GUARDRAILS
from tests.bots.test_transfer import ARN, FULL
from tests.bots.travel import content_of, export_zip, make_with_file, named
from tests.bots.upload import files_of

pytestmark = [pytest.mark.django_db, pytest.mark.both]

FILE = b"What Alice knows."


def export(folder: Path, *arguments: str) -> list[str]:
    """What the command says, the last line left out."""
    return run("export_bots", folder, *arguments)[:-1]


def bring(folder: Path, *arguments: str) -> list[str]:
    return run("import_bots", folder, *arguments)


def run(command: str, folder: Path, *arguments: str) -> list[str]:
    output = io.StringIO()
    call_command(command, str(folder), *arguments, stdout=output)
    return output.getvalue().splitlines()


def refused(folder: Path, *arguments: str) -> str:
    before = rows()
    with pytest.raises(CommandError) as error:
        bring(folder, *arguments)
    assert rows() == before
    return str(error.value)


def rows() -> list[Any]:
    return [list(model.objects.order_by("pk").values()) for model in (Bot, BotVersion, BotFile, Blob)]


def change(folder: Path, bot_id: str, **fields: Any) -> None:
    """Edits a file as somebody would with an editor. `fields` are those of the bot."""
    path = folder / f"{bot_id}.json"
    sent = json.loads(path.read_text(encoding="utf-8"))
    sent["bot"] |= fields
    path.write_text(json.dumps(sent), encoding="utf-8")


def forget_bots() -> None:
    """As in another deployment, where the same people are known."""
    from bedrock_chat.blobs.models import BlobReference
    from bots.models import TakenBotId

    for model in (BotFile, Bot, TakenBotId, BlobReference, Blob):
        model.objects.all().delete()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "bots"


def test_bots_come_back_the_same_under_their_ids_and_owners(alice: APIClient, bob: APIClient, folder: Path) -> None:
    before = make_with_file(alice, "one", "a.txt", FILE, **FULL)
    make(alice, "two")
    assert export(folder, "--files") == ["one.json", "two.json", f"files/{named('a', FILE)['digest']}"]
    forget_bots()
    output = bring(folder)
    assert output[-1] == "2 of 2 bots are changed."
    after = read(alice, "one")
    assert content_of(after) == content_of(before)
    assert (after["allowCloning"], after["version"], files_of(after)) == (True, 1, files_of(before))
    entry = AuditEntry.objects.filter(verb="import", target_id="one").get()
    assert (entry.actor_kind, entry.actor_id) == ("command", "import_bots")


def test_twice_is_no_change(alice: APIClient, folder: Path) -> None:
    make_with_file(alice, "one", "a.txt", FILE, **FULL)
    export(folder, "--files")
    texts = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    assert export(folder, "--files") == []
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == texts
    before = rows()
    assert bring(folder) == ["0 of 1 bots are changed."]
    assert rows() == before
    change(folder, "one", title="New")
    bring(folder)
    before = rows()
    assert bring(folder) == ["0 of 1 bots are changed."]
    assert rows() == before
    assert read(alice, "one")["version"] == 2


def test_a_file_is_laid_out_for_git(alice: APIClient, folder: Path) -> None:
    make(alice, "one", instruction="日本語", activeModels={"claudeV3Haiku": False}, agent=firecrawl("fc-secret"))
    export(folder)
    owner = User.objects.get(username="alice")
    assert (folder / "one.json").read_text(encoding="utf-8") == (
        """{
  "schema": "bedrock-chat-bot",
  "version": 1,
  "id": "one",
  "owner": {
    "id": "OWNER",
    "username": "alice"
  },
  "bot": {
    "title": "Title of one",
    "description": "Description of one",
    "instruction": "日本語",
    "allowCloning": false,
    "generationParams": null,
    "agent": {
      "tools": [
        {
          "description": "Searches.",
          "firecrawlConfig": {
            "maxResults": 5
          },
          "name": "internet_search",
          "searchEngine": "firecrawl",
          "toolType": "internet"
        }
      ]
    },
    "knowledge": {
      "s3Urls": [],
      "sitemapUrls": [],
      "sourceUrls": []
    },
    "files": [],
    "bedrockKnowledgeBase": null,
    "bedrockGuardrails": null,
    "conversationQuickStarters": [],
    "activeModels": {
      "claudeV3Haiku": false
    },
    "promptCachingEnabled": true,
    "displayRetrievedChunks": false
  }
}
"""
    ).replace("OWNER", owner.pk)


def test_a_dry_run_shows_each_field_and_writes_nothing(alice: APIClient, folder: Path) -> None:
    make(alice, "one", instruction="Be kind.\nBe short.")
    make(alice, "same")
    export(folder)
    change(folder, "one", instruction="Be kind.\nBe long.", allowCloning=True)
    (folder / "fresh.json").write_text(json.dumps(document(title="New")))
    before = rows()
    output = bring(folder, "--owner", "alice", "--dry-run")
    assert rows() == before
    assert output[0] == "fresh.json: a new bot fresh of alice"
    assert output[output.index("one.json: changes one of alice") :] == [
        "one.json: changes one of alice",
        "  instruction",
        "     Be kind.",
        "    -Be short.",
        "    +Be long.",
        "  allowCloning",
        "    -false",
        "    +true",
        "2 of 3 bots would change.",
    ]
    assert not AuditEntry.objects.filter(verb="import").exists()


def test_a_bot_that_is_there_keeps_its_secrets_guardrail_and_people(alice: APIClient, folder: Path) -> None:
    guardrails = {**GUARDRAILS, "hateThreshold": 1, "guardrailArn": ARN, "guardrailVersion": "3"}
    make(alice, "one", agent=firecrawl("fc-secret"), bedrockGuardrails=guardrails)
    share(alice, "one", "partial", ["bob"], "sales")
    export(folder)
    change(folder, "one", title="New", allowCloning=True)
    bring(folder)
    after = read(alice, "one")
    assert (after["title"], after["version"], after["allowCloning"]) == ("New", 2, True)
    assert after["agent"]["tools"][0]["firecrawlConfig"]["apiKey"] == "********"
    assert after["bedrockGuardrails"] == guardrails
    assert (after["sharedScope"], BotGrant.objects.count()) == ("partial", 2)
    version = BotVersion.objects.get(number=2)
    assert (version.author_id, version.changed) == (User.objects.get(username="alice").pk, ["title"])
    body(edit(alice, "one", title="Mine"))


def test_what_the_file_does_not_say_any_more_goes(alice: APIClient, folder: Path) -> None:
    make_with_file(alice, "one", "a.txt", FILE, agent=firecrawl("fc-secret"), description="Long")
    export(folder)
    sent = json.loads((folder / "one.json").read_text())
    sent["bot"] = {"title": "t", "instruction": "i"}
    (folder / "one.json").write_text(json.dumps(sent))
    bring(folder)
    after = read(alice, "one")
    assert (after["description"], after["agent"], after["files"]) == ("", {"tools": []}, [])
    assert not Bot.objects.get().encrypted_secrets


def test_only_the_bots_that_are_named_are_written(alice: APIClient, folder: Path) -> None:
    for bot_id in ("one", "two", "three"):
        make(alice, bot_id)
    assert export(folder, "--bot", "two", "--bot", "one") == ["one.json", "two.json"]
    assert sorted(AuditEntry.objects.filter(verb="export").values_list("target_id", flat=True)) == ["one", "two"]
    with pytest.raises(CommandError, match="No bot found with id: nope"):
        export(folder, "--bot", "nope")


def test_ids_that_differ_by_case_alone_are_not_written_over_each_other(alice: APIClient, folder: Path) -> None:
    make(alice, "one")
    make(alice, "One")
    with pytest.raises(CommandError, match="ignores case"):
        export(folder)


def test_a_zip_of_rest_comes_in_as_well(alice: APIClient, folder: Path) -> None:
    before = make_with_file(alice, "one", "a.txt", FILE)
    folder.mkdir()
    (folder / "one.zip").write_bytes(export_zip(alice, "one"))
    forget_bots()
    bring(folder, "--owner", "alice")
    assert content_of(read(alice, "one")) == content_of(before)


# ---- Whose they are -------------------------------------------------------------------------------------------------


def owned(folder: Path, name: str, owner: dict[str, str] | None, **fields: Any) -> None:
    folder.mkdir(exist_ok=True)
    sent = {**document(), **({"owner": owner} if owner else {}), **fields}
    (folder / f"{name}.json").write_text(json.dumps(sent))


def test_an_owner_is_known_by_id_then_by_name_or_else_is_the_one_that_is_named(
    alice: APIClient, bob: APIClient, folder: Path
) -> None:
    ids = dict(User.objects.values_list("username", "pk"))
    owned(folder, "by-id", {"id": ids["alice"], "username": "bob"})
    owned(folder, "by-name", {"id": "somewhere-else", "username": "alice"})
    assert bring(folder)[-1] == "2 of 2 bots are changed."
    assert set(Bot.objects.values_list("owner", flat=True)) == {ids["alice"]}
    owned(folder, "unknown", {"id": "x", "username": "zoe"})
    owned(folder, "nobody", None)
    output = refused(folder)
    assert output.splitlines() == [
        "Nothing was imported.",
        "nobody.json: Its owner is not known here; name one with --owner.",
        "unknown.json: Its owner is not known here; name one with --owner.",
    ]
    bring(folder, "--owner", "bob")
    bring(folder, "--owner", ids["bob"])
    assert set(Bot.objects.filter(owner=ids["bob"]).values_list("pk", flat=True)) == {"unknown", "nobody"}
    assert Bot.objects.get(pk="unknown").version == 1
    assert "Nobody here is called zoe." in refused(folder, "--owner", "zoe")


def test_a_name_that_two_people_have_is_nobodys(alice: APIClient, folder: Path) -> None:
    User.objects.create(id="other", username="alice")
    owned(folder, "one", {"id": "x", "username": "alice"})
    assert "not known here" in refused(folder)
    assert "More than one person" in refused(folder, "--owner", "alice")


def test_an_id_of_somebody_else_or_of_a_bot_that_is_gone_is_refused(
    alice: APIClient, bob: APIClient, folder: Path
) -> None:
    make(alice, "one")
    make(alice, "gone")
    alice.delete("/bot/gone")
    bob_id = User.objects.get(username="bob").pk
    owned(folder, "one", {"id": bob_id, "username": "bob"})
    owned(folder, "gone", {"id": bob_id, "username": "bob"})
    assert refused(folder).splitlines()[1:] == [
        "gone.json: The id gone was a bot's that is gone; give the document another one.",
        "one.json: The bot one is alice's here, and not this one; give the document another id.",
    ]


# ---- What is not sound ----------------------------------------------------------------------------------------------


def test_one_file_that_is_not_sound_keeps_all_of_them_out(alice: APIClient, folder: Path) -> None:
    alice_id = {"id": User.objects.get().pk, "username": "alice"}
    owned(folder, "good", alice_id)
    owned(folder, "a b", alice_id)
    owned(folder, "twin", alice_id, id="good")
    owned(folder, "foreign", alice_id, extra=1)
    owned(folder, "missing", alice_id, **document(files=[named("a.txt", FILE)]))
    owned(folder, "newer", alice_id, version=2)
    owned(folder, "wrong", alice_id, **document(files=[named("a.txt", b"x")]))
    (folder / "files").mkdir()
    (folder / "files" / named("a.txt", b"x")["digest"]).write_bytes(b"y")
    (folder / "cut.json").write_text('{"schema"')
    (folder / "bad.zip").write_bytes(b"PK")
    (folder / "README.md").write_text("Not a bot.")
    lines = refused(folder).splitlines()
    assert [line.partition(":")[0] for line in lines[1:]] == [
        "a b.json",
        "bad.zip",
        "cut.json",
        "foreign.json",
        "missing.json",
        "newer.json",
        "twin.json",
        "wrong.json",
    ]
    assert "good.json is the bot good, too" in lines[7]
    assert "another digest" in lines[8]


def test_more_bots_than_a_person_may_have_are_refused(alice: APIClient, folder: Path, settings: Any) -> None:
    settings.BOTS_PER_USER = 2
    make(alice, "b")
    for name in ("one", "two"):
        owned(folder, name, None)
    assert "alice would have more than 2 bots." in refused(folder, "--owner", "alice")


def test_a_folder_that_is_not_there_is_told(folder: Path) -> None:
    assert "bots" in refused(folder)


def test_an_import_that_was_cut_short_goes_on(alice: APIClient, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from bots.transfer import folders

    for name in ("one", "two", "three"):
        owned(folder, name, None)
    apply, applied = folders.apply, []

    def killed(planned: folders.Planned, **options: Any) -> None:
        if applied:
            raise KeyboardInterrupt
        applied.append(planned)
        apply(planned, **options)

    with monkeypatch.context() as patched:
        patched.setattr(folders, "apply", killed)
        with pytest.raises(KeyboardInterrupt):
            bring(folder, "--owner", "alice")
    assert Bot.objects.count() == BotVersion.objects.count() == 1
    assert bring(folder, "--owner", "alice")[-1] == "2 of 3 bots are changed."
