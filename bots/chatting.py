"""What a turn needs of a bot: two statements, both in the transaction that opens the turn."""

from dataclasses import dataclass
from datetime import datetime

from django.db.models import Exists, OuterRef, QuerySet

from bedrock_chat.bedrock.catalog import Model
from bedrock_chat.bedrock.request import Parameters
from bedrock_chat.database.compiled_sql import Batch
from bedrock_chat.database.composing import Slot
from bedrock_chat.identity.caller import Caller, Published
from bedrock_chat.wire.errors import BadRequest, Conflict
from bots import access, configuration, warnings
from bots.configuration import Configuration
from bots.models import Bot, BotAlias, BotContent, BotGrant, BotVersion

COLUMNS = Bot.in_order("id", "owner_id", "scope", "title", "description", "instruction", "configuration")


@dataclass(frozen=True, slots=True)
class ChattingBot:
    """A bot as somebody chats with it."""

    id: str
    owner_id: str
    title: str
    description: str
    instruction: str
    configuration: Configuration

    @property
    def parameters(self) -> Parameters:
        return configuration.parameters_of(self.configuration["generation_params"])

    @property
    def prompt_caching(self) -> bool:
        return self.configuration["prompt_caching_enabled"]

    def refuse(self, model: Model) -> None:
        """Raises BadRequest for a model that is not active, and Conflict where answers would have to be guarded."""
        if not configuration.is_active(self.configuration, model):
            raise BadRequest(f"message.model: {model.display_name} is not active for this bot.")
        if configuration.has_guardrail(self.configuration):
            raise Conflict("This bot's answers are to be guarded, and this server has no guardrails yet.")

    def answers_with(self, model: Model) -> bool:
        """Whether `refuse` lets a turn with this model pass."""
        try:
            self.refuse(model)
        except (BadRequest, Conflict):
            return False
        return True

    def warnings(self, model: Model, *, thinks: bool) -> list[str]:
        return warnings.of_turn(self.configuration, model, thinks=thinks)


def find(bot_id: str, *, actor: Caller) -> ChattingBot | None:
    """The bot of that id if the caller may use it, else None, in one query (two for a pinned version)."""
    if actor.published is not None:
        return _published(actor.published) if actor.published.bot_id == bot_id else None
    groups = sorted(actor.groups)
    values = {"bot": bot_id, "user": actor.user_id or "", **{_group(index): name for index, name in enumerate(groups)}}
    with Batch() as batch:
        rows = batch.queryset(_bot_with_access, (len(groups),), values)
    if not rows.result:
        return None
    *columns, is_granted = rows.result[0]
    bot = Bot.from_db(None, COLUMNS, columns)
    if not access.may_use(actor, bot, is_granted=is_granted):
        return None
    texts = (bot.title, bot.description, bot.instruction)
    return ChattingBot(bot.pk, bot.owner_id, *texts, bot.configuration)


def _published(published: Published) -> ChattingBot | None:
    """The bot that a key reaches, with the content of the version that it is pinned to."""
    pinned = published.bot_version
    with Batch() as batch:
        bots = batch.select(Bot, COLUMNS, {"id": published.bot_id})
        versions = None
        if pinned is not None:
            versions = batch.get(BotVersion, {"bot_id": published.bot_id, "number": pinned})
    if not bots.result:
        return None
    bot = Bot.from_db(None, COLUMNS, bots.result[0])
    row: BotContent | None = bot if versions is None else versions.result
    if row is None:
        return None
    return ChattingBot(bot.pk, bot.owner_id, row.title, row.description, row.instruction, row.configuration)


def get(bot_id: str, *, actor: Caller) -> ChattingBot:
    """As `find`. Raises NotFound: chatting does not tell who may use which bot."""
    bot = find(bot_id, actor=actor)
    if bot is None:
        raise access.no_bot(bot_id)
    return bot


def note_turn(batch: Batch, bot: ChattingBot, now: datetime, *, is_use: bool, actor: Caller) -> None:
    """Writes the caller's row of the bot: their last turn with it, and one use more if `is_use`. A key has no row."""
    if actor.user_id is None:
        return
    alias = BotAlias(
        user_id=actor.user_id,
        bot_id=bot.id,
        bot_owner_id=bot.owner_id,
        title=bot.title,
        description=bot.description,
        last_used_at=now,
        uses=int(is_use),
        created_at=now,
    )
    batch.upsert(alias, ("user_id", "bot_id"), replaced=("title", "description", "last_used_at"), plus=("uses",))


def _bot_with_access(groups: int) -> "QuerySet[Bot, tuple[object, ...]]":
    """The bot's columns, and whether a grant names the caller or one of so many groups of theirs."""
    caller = Caller(user_id=Slot("user"), groups=frozenset(Slot(_group(index)) for index in range(groups)))
    granted = Exists(BotGrant.objects.to(caller).filter(bot=OuterRef("pk")))
    return Bot.objects.filter(pk=Slot("bot")).annotate(is_granted=granted).values_list(*COLUMNS, "is_granted")


def _group(index: int) -> str:
    return f"group {index}"
