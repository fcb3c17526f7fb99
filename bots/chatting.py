"""What a turn needs of a bot: two statements, both in the transaction that opens the turn."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from django.db.models import Exists, OuterRef, QuerySet

from bedrock_chat.bedrock.catalog import Model
from bedrock_chat.bedrock.request import Guardrail, Parameters
from bedrock_chat.database.compiled_sql import Batch, Rows, Statement
from bedrock_chat.database.composing import Slot
from bedrock_chat.database.instances import loaded_row
from bedrock_chat.identity.caller import Caller
from bedrock_chat.wire.errors import BadRequest, Conflict
from bots import access, configuration, content, guarding, popularity, warnings
from bots.configuration import Configuration
from bots.models import Bot, BotAlias, BotContent, BotGrant, BotVersion

COLUMNS = Bot.in_order(
    "id",
    "owner_id",
    "scope",
    "title",
    "description",
    "instruction",
    "configuration",
    "encrypted_secrets",
    "sync_status",
)
GUARDRAIL = ("guardrail__arn", "guardrail__version")
INDEXED = "knowledge__serving__chunks"


@dataclass(frozen=True, slots=True)
class ChattingBot:
    """A bot as somebody chats with it. `guardrail` is the one that its answers are under just now."""

    id: str
    owner_id: str
    title: str
    description: str
    instruction: str
    configuration: Configuration
    sync_status: str
    guardrail: Guardrail | None
    is_guarded_as_today: bool
    """False for a version that is to be guarded otherwise than the bot is today."""
    encrypted_secrets: str = field(default="", repr=False)
    """A token, which is opened when a tool runs that needs a secret (`secret`), and not before."""
    is_published: bool = False
    """Whether a key of a publication asks: its answers have no route for sources."""
    has_index: bool = True
    """Whether anything is indexed, so that the bot can find it. True where it needs no index of its own."""
    todays_secrets: str | None = field(default=None, repr=False)
    """Of a pinned version the token of the bot's secrets today: what was taken out there is revoked in all of them."""

    @property
    def parameters(self) -> Parameters:
        return configuration.parameters_of(self.configuration["generation_params"])

    @property
    def prompt_caching(self) -> bool:
        return self.configuration["prompt_caching_enabled"]

    @property
    def tool_rounds(self) -> int | None:
        """How many rounds with tools an answer may have; None: as many as the server allows."""
        return self.configuration.get("tool_rounds")

    @property
    def tool_seconds(self) -> int | None:
        """How long a call of a tool may take; None: as long as the server allows."""
        return self.configuration.get("tool_seconds")

    def refuse(self, model: Model) -> None:
        """Raises BadRequest for a model that is not active, and Conflict where the bot's guardrail is not there."""
        if not configuration.is_active(self.configuration, model):
            raise BadRequest(f"message.model: {model.display_name} is not active for this bot.")
        guarding.refuse_unguarded(
            self.configuration, self.guardrail, self.sync_status, is_guarded_as_today=self.is_guarded_as_today
        )

    @property
    def lacks_guardrail(self) -> bool:
        """Whether a model may not be asked now: what it says would have to be guarded."""
        return guarding.is_lacking(self.configuration, self.guardrail)

    def answers_with(self, model: Model) -> bool:
        """Whether `refuse` lets a turn with this model pass."""
        try:
            self.refuse(model)
        except (BadRequest, Conflict):
            return False
        return True

    @property
    def cites(self) -> bool:
        """Whether answers shall name the sources that they use."""
        return self.configuration["display_retrieved_chunks"] and not self.is_published

    def secret(self, name: str) -> str:
        """The secret of the tool with this name, or nothing where there is none. Raises EncryptionError."""
        if self.todays_secrets is not None and name not in content.secrets_of(self.todays_secrets):
            return ""
        return content.secrets_of(self.encrypted_secrets).get(name, "")

    def warnings(self, model: Model, *, thinks: bool) -> list[str]:
        return warnings.of_turn(self.configuration, model, thinks=thinks, has_index=self.has_index)


def find(bot_id: str, *, actor: Caller) -> ChattingBot | None:
    """The bot of that id if the caller may use it, else None, in one query (two for a pinned version).

    A key may use the bot of its publication, whoever else may.
    """
    with Batch() as batch:
        rows = _reading(batch, bot_id, actor)
    return _bot_of(rows.result, bot_id, actor)


def _reading(batch: Batch, bot_id: str, actor: Caller) -> Statement[Rows]:
    groups = sorted(actor.groups)
    values = {"bot": bot_id, "user": actor.user_id or "", **{_group(index): name for index, name in enumerate(groups)}}
    return batch.queryset(_bot_with_access, (len(groups),), values)


def _bot_of(rows: Rows, bot_id: str, actor: Caller) -> ChattingBot | None:
    if not rows:
        return None
    *columns, is_granted, arn, guardrail_version, chunks = rows[0]
    bot = loaded_row(Bot, COLUMNS, columns)
    row: BotContent = bot
    if actor.published is None:
        if not access.may_use(actor, bot, is_granted=is_granted):
            return None
    elif actor.published.bot_id != bot_id:
        return None
    elif actor.published.bot_version is not None:
        version = BotVersion.objects.filter(bot=bot_id, number=actor.published.bot_version).first()
        if version is None:
            return None
        row = version
    # The guardrail that was made is today's: a version that was guarded otherwise is not answered unguarded.
    is_guarded_as_today = row.configuration["bedrock_guardrails"] == bot.configuration["bedrock_guardrails"]
    made = (arn, guardrail_version) if is_guarded_as_today else (None, None)
    guardrail = guarding.guardrail_of(row.configuration, *made)
    texts = (row.title, row.description, row.instruction)
    state = (bot.sync_status, guardrail, is_guarded_as_today)
    todays = None if row is bot else bot.encrypted_secrets
    return ChattingBot(
        bot.pk,
        bot.owner_id,
        *texts,
        row.configuration,
        *state,
        row.encrypted_secrets,
        is_published=actor.published is not None,
        has_index=bool(chunks) or not configuration.searches_own_index(row.configuration),
        todays_secrets=todays,
    )


def get(bot_id: str, *, actor: Caller) -> ChattingBot:
    """As `find`. Raises NotFound: chatting does not tell who may use which bot."""
    with Batch() as batch:
        bot = get_in(batch, bot_id, actor=actor)
    return bot()


def get_in(batch: Batch, bot_id: str, *, actor: Caller) -> Callable[[], ChattingBot]:
    """As `get`, with other statements: call the result once the batch has run."""
    rows = _reading(batch, bot_id, actor)

    def bot() -> ChattingBot:
        row = _bot_of(rows.result, bot_id, actor)
        if row is None:
            raise access.no_bot(bot_id)
        return row

    return bot


def note_turn(batch: Batch, bot: ChattingBot, now: datetime, *, is_use: bool, actor: Caller) -> None:
    """Writes the caller's row of the bot: their last turn with it, and one use more if `is_use`. A key has no row.

    The first use of a day counts for the bot's popularity.
    """
    if actor.user_id is None:
        return
    day = popularity.day_of(now)
    alias = BotAlias(
        user_id=actor.user_id,
        bot_id=bot.id,
        bot_owner_id=bot.owner_id,
        title=bot.title,
        description=bot.description,
        last_used_at=now,
        uses=int(is_use),
        popularity=popularity.of_day(day) if is_use else 0.0,
        last_use_day=day if is_use else 0,
        created_at=now,
    )
    batch.upsert(
        alias,
        ("user_id", "bot_id"),
        replaced=("title", "description", "last_used_at"),
        plus=("uses",),
        plus_if_later=("popularity", "last_use_day"),
    )


def _bot_with_access(groups: int) -> "QuerySet[Bot, tuple[object, ...]]":
    """The bot's columns, whether a grant names the caller or one of so many groups of theirs, its own guardrail, and
    how many chunks its index has.
    """
    caller = Caller(user_id=Slot("user"), groups=frozenset(Slot(_group(index)) for index in range(groups)))
    granted = Exists(BotGrant.objects.to(caller).filter(bot=OuterRef("pk")))
    return (
        Bot.objects.filter(pk=Slot("bot"))
        .annotate(is_granted=granted)
        .values_list(*COLUMNS, "is_granted", *GUARDRAIL, INDEXED)
    )


def _group(index: int) -> str:
    return f"group {index}"
