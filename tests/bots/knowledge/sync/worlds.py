"""A bot with a file that is well and one odd source, where faults happen: a page, a file, a sitemap or a folder."""

import random
from dataclasses import dataclass
from typing import Any, Final, Literal

from django.db import transaction
from rest_framework.test import APIClient

from bedrock_chat.database.connections import database_now
from bedrock_chat.jobs.models import Job
from bots.knowledge import revisions
from bots.knowledge.models import CrawlHost, Document, Edition, EditionState
from bots.knowledge.sources import robots
from tests.bots.bot import KNOWLEDGE, body, edit, make
from tests.bots.knowledge.sources.buckets import BUCKET
from tests.bots.knowledge.sources.site import Site, page
from tests.bots.knowledge.sync import syncs
from tests.bots.upload import change, sources, upload
from tests.emulator import Emulator
from tests.outbound.servers import Answer, Names

Kind = Literal["page", "file", "sitemap", "folder"]
WELL: Final = "well.txt"
ODD: Final = "odd.txt"
LONG: Final = "It goes on for a while, as texts do, and ends where nothing more is to be said. " * 4


@dataclass
class World:
    """Where a fault of this number happens. `bucket` is a client of S3, which holds `BUCKET`."""

    number: int
    kind: Kind
    chance: random.Random
    client: APIClient
    emulator: Emulator
    site: Site
    names: Names
    bucket: Any

    # ---- What there is ----------------------------------------------------------------------------------------------

    @property
    def bot_id(self) -> str:
        return f"b{self.number}"

    @property
    def host(self) -> str:
        """The odd page's, which no other bot has."""
        return f"odd{self.number}.test"

    @property
    def path(self) -> str:
        return f"/{self.number}/"

    @property
    def root(self) -> str:
        return f"http://{self.host}:{self.site.port}"

    @property
    def source(self) -> str:
        """The odd source, as sentences name it."""
        match self.kind:
            case "page":
                return self.root + self.path
            case "file":
                return ODD
            case "sitemap":
                return f"{self.root}{self.path}map.xml"
            case "folder":
                return f"s3://{BUCKET}{self.path}"

    @property
    def location(self) -> str:
        """Of the odd source's one document."""
        match self.kind:
            case "page" | "sitemap":
                return self.root + self.path
            case "file":
                return f"file:{ODD}"
            case "folder":
                return f"s3://{BUCKET}{self.path}{ODD}"

    def says(self, version: int) -> str:
        """What the odd document says in a version, and nothing else does."""
        return f"What odd {self.number} says is version {version}."

    @property
    def well_says(self) -> str:
        return f"What well {self.number} says stays."

    # ---- What people and servers do ---------------------------------------------------------------------------------

    def begin(self) -> None:
        """Makes the bot, whose odd document says version 1."""
        self.names[self.host] = [["127.0.0.1"]]
        upload(self.client, self.bot_id, WELL, self.well_says.encode())
        named = {
            "page": {"sourceUrls": [self.source]},
            "file": {},
            "sitemap": {"sitemapUrls": [self.source]},
            "folder": {"s3Urls": [self.source]},
        }[self.kind]
        make(self.client, self.bot_id, knowledge={**KNOWLEDGE, **sources(WELL), **named})
        self.write(1)

    def write(self, version: int) -> None:
        """The odd document says another version, and nothing is wrong with it."""
        text = f"{self.says(version)} {LONG}"
        article = page(f"<html><body><article><p>{text}</p></article></body></html>")
        match self.kind:
            case "page":
                self.show(article)
            case "file":
                self.upload(text.encode())
            case "sitemap":
                self.show(article)
                listed = f"<urlset><url><loc>{self.location}</loc></url></urlset>"
                self.show(page(listed, "Content-Type: application/xml"), f"{self.path}map.xml")
            case "folder":
                self.bucket.put_object(Bucket=BUCKET, Key=f"{self.path[1:]}{ODD}", Body=text.encode())

    def show(self, answer: Answer, path: str = "") -> None:
        """The odd site answers so from now on."""
        self.site.pages[path or self.path] = answer

    def upload(self, content: bytes) -> None:
        """The odd file has this content from now on."""
        upload(self.client, self.bot_id, ODD, content)
        body(edit(self.client, self.bot_id, knowledge=change(added=[ODD], unchanged=[WELL])))

    def ask(self) -> None:
        """Somebody asks for a sync, and whatever one waits for is over."""
        robots.forget()
        syncs.calm()
        CrawlHost.objects.filter(host=self.host).delete()
        with transaction.atomic():
            revisions.request(self.bot_id)
        Job.objects.filter(kind=revisions.KIND).update(due_at=database_now())

    # ---- What comes of it -------------------------------------------------------------------------------------------

    @property
    def shown(self) -> tuple[str, str]:
        return syncs.shown(self.client, self.bot_id)

    @property
    def state(self) -> str:
        """Of the odd document, empty where there is none."""
        return syncs.states(self.bot_id).get(self.location, "")

    def found(self) -> list[str]:
        """What is found, in the words of `says` and `well_says`. Whatever is found is whole."""
        texts = " ".join(syncs.texts(self.bot_id))
        sayings = [self.well_says, *(self.says(version) for version in (1, 2))]
        for version in (1, 2):
            assert texts.count(self.says(version)) <= 1
        return [words for words in sayings if words in texts]

    def count(self) -> None:
        """Both documents are there once, each found in one edition of its own, and nothing is left to be done."""
        mine = Document.objects.filter(knowledge__bot=self.bot_id)
        rows = mine.exclude(state="removed").values_list("location", "state", "attempts", "failures")
        assert sorted(rows) == sorted([(f"file:{WELL}", "ready", 0, 0), (self.location, "ready", 0, 0)])
        editions = Edition.objects.filter(document__knowledge__bot=self.bot_id)
        assert sorted(editions.values_list("document__location", "state")) == sorted(
            [(f"file:{WELL}", EditionState.LIVE), (self.location, EditionState.LIVE)]
        )
        assert not Job.objects.filter(kind=revisions.KIND).exists()
