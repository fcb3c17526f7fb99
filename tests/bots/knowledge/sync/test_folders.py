"""Folders in S3 (moto's server): objects are found, what has not changed is not fetched, and what is gone goes."""

from typing import Any

import pytest
from rest_framework.test import APIClient

from bots.knowledge.sources import s3
from bots.models import Bot
from tests.bots.bot import KNOWLEDGE, body, edit, make
from tests.bots.knowledge import documents
from tests.bots.knowledge.sources.test_s3 import BUCKET, FOLDER, bucket, client
from tests.bots.knowledge.sync import syncs
from tests.bots.knowledge.sync.syncs import again, shown
from tests.bots.test_parts import BASE
from tests.emulator import Emulator

__all__ = ["bucket", "client"]  # fixtures

pytestmark = [pytest.mark.both, pytest.mark.django_db(transaction=True)]

NOT_ALLOWED = ("FAILED", f"{FOLDER}: This bucket is not allowed here.")


@pytest.fixture
def folder(client: Any, alice: APIClient, emulator: Emulator) -> Any:
    """The bucket, of which Alice's bot knows a folder with two texts and a film."""
    for key in ("team/a.txt", "team/sub/b.md", "team/film.mp4", "other/c.txt"):
        client.put_object(Bucket=BUCKET, Key=key, Body=f"The object {key} says this.".encode())
    make(alice, "b", knowledge={**KNOWLEDGE, "s3Urls": [FOLDER]})
    syncs.run()
    return client


@pytest.fixture
def fetched(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The keys of objects that are read from now on."""
    keys, fetch = list[str](), s3.s3_folders.read

    def counted(bucket: str, key: str, **options: Any) -> Any:
        keys.append(key)
        return fetch(bucket, key, **options)

    monkeypatch.setattr(s3.s3_folders, "read", counted)
    return keys


def test_a_folder_is_found_and_again_what_has_changed_alone_is_fetched(
    folder: Any, alice: APIClient, emulator: Emulator, fetched: list[str]
) -> None:
    assert shown(alice) == ("SUCCEEDED", "Knowledge base sync succeeded")
    assert syncs.texts() == ["The object team/a.txt says this.", "The object team/sub/b.md says this."]
    [source] = body(alice.get("/bot/b/knowledge"))["sources"]
    assert (source["kind"], source["location"], source["skipped"]) == ("s3", FOLDER, 1)
    assert (source["documents"]["ready"], source["documents"]["failed"]) == (2, 0)
    syncs.embedded(emulator)

    again()
    assert (fetched, syncs.embedded(emulator)) == ([], 0)

    folder.put_object(Bucket=BUCKET, Key="team/a.txt", Body=b"It says something else.")
    folder.delete_object(Bucket=BUCKET, Key="team/sub/b.md")
    again()
    assert (fetched, syncs.embedded(emulator)) == (["team/a.txt"], 1)
    assert syncs.texts() == ["It says something else."]
    assert syncs.states() == {f"{FOLDER}a.txt": "ready"}


def test_a_folder_that_operators_do_not_name_any_more_fails_and_hinders_no_edit(
    folder: Any, alice: APIClient, settings: Any
) -> None:
    settings.KNOWLEDGE_S3 = ()
    assert edit(alice, "b", title="Another title", knowledge={**KNOWLEDGE, "s3Urls": [FOLDER]}).status_code == 200
    assert shown(alice)[0] == "SUCCEEDED"
    for _ in range(2):
        again()
        assert shown(alice) == NOT_ALLOWED
        assert len(syncs.texts()) == 2  # as of any source that cannot be read: until three syncs have failed
    again()
    assert (shown(alice), syncs.texts()) == (NOT_ALLOWED, [])


def test_a_stored_pattern_that_re2_refuses_fails_the_sites_and_no_folder(folder: Any, alice: APIClient) -> None:
    """As a bot from before the rule may have one."""
    site = "https://x.example/"
    edit(alice, "b", bedrockKnowledgeBase=BASE, knowledge={**KNOWLEDGE, "sourceUrls": [site], "s3Urls": [FOLDER]})
    bot = Bot.objects.get()
    bot.configuration["bedrock_knowledge_base"]["web_crawling_filters"]["exclude_patterns"] = ["(?=x)"]
    bot.save()
    again()
    assert shown(alice) == ("FAILED", f"{site}: The pattern (?=x) is no regular expression that RE2 reads.")
    assert len(syncs.texts()) == 2


def test_another_parsing_model_reads_objects_anew_that_have_not_changed(
    folder: Any, alice: APIClient, emulator: Emulator, fetched: list[str]
) -> None:
    scan = documents.pdf(["The first page has text.", None], picture=True, size=(300, 300))
    folder.put_object(Bucket=BUCKET, Key="team/scan.pdf", Body=scan)
    edit(alice, "b", bedrockKnowledgeBase=BASE)
    syncs.run()
    assert len(syncs.texts()) == 3
    fetched.clear()
    emulator.script(text="The second page was drawn.")
    edit(alice, "b", bedrockKnowledgeBase={**BASE, "parsingModel": "anthropic.claude-3-haiku-v1"})
    syncs.run()
    assert sorted(fetched) == ["team/a.txt", "team/scan.pdf", "team/sub/b.md"]
    assert "The second page was drawn." in syncs.texts()
    fetched.clear()
    again()
    assert fetched == []
