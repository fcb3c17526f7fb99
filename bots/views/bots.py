"""Bots over REST: each view parses, makes one call and renders."""

from drf_spectacular.utils import OpenApiExample, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from bedrock_chat.identity.caller import caller_of
from bedrock_chat.serving import answers
from bedrock_chat.wire.errors import BadRequest
from bedrock_chat.wire.openapi import VOID, errors, links
from bedrock_chat.wire.reports import RankingQuerySerializer
from bedrock_chat.wire.views import WireViewSet, validated
from bots import access, aliases, editing, guarding, listing, rendering, sharing, spending
from bots.models import Scope
from bots.serializers.bots import (
    PUSHED,
    VISIBILITIES,
    VISIBILITY,
    AdminBotSerializer,
    BotInputSerializer,
    BotMetaSerializer,
    BotModifyInputSerializer,
    BotModifyOutputSerializer,
    BotSerializer,
    BotSummarySerializer,
    ListQuerySerializer,
    PinInputSerializer,
    RemovedSerializer,
    SpendingBotSerializer,
    StarredInputSerializer,
    UnpinInputSerializer,
)
from bots.serializers.parts import tool_shapes
from bots.tools.available import AVAILABLE

TAG = ["bot"]
ADMIN_TAG = ["admin"]

_MADE = {"bot_id": "$response.body#/id"}
_LISTED = {"bot_id": "$response.body#/0/id"}

A_BOT = OpenApiExample(
    "A bot",
    request_only=True,
    value={
        "id": "translator",
        "title": "Translator",
        "instruction": "You translate what you are sent into English, and say nothing else.",
        "description": "Any language to English.",
        "generationParams": None,
        "agent": {"tools": []},
        "knowledge": None,
        "displayRetrievedChunks": False,
        "conversationQuickStarters": [{"title": "A greeting", "example": "Buenos días"}],
        "activeModels": {},
        "promptCachingEnabled": True,
    },
)
AN_EDIT = OpenApiExample(
    "Another title, unless somebody else was faster", request_only=True, value={"title": "To English", "baseVersion": 1}
)
SHARED_WITH_SOME = OpenApiExample(
    "Shared with a group",
    request_only=True,
    value={"targetSharedScope": "partial", "targetAllowedUserIds": [], "targetAllowedGroupIds": ["sales"]},
)


class BotListViewSet(WireViewSet):
    """The caller's bots."""

    @extend_schema(
        operation_id="get_bots",
        summary="List your bots",
        description="`kind=private`: your own. `kind=mixed` with `limit`: those that you used last, whosever they are; "
        "with `starred`: those with your star. By `lastUsedTime`, the last first.",
        tags=TAG,
        extensions=links(get_private_bot=_LISTED, get_bot_summary=_LISTED),
        parameters=[ListQuerySerializer],
        responses={200: BotMetaSerializer(many=True), **errors(400)},
    )
    def list(self, request: Request) -> Response:
        actor = caller_of(request)
        listed = listing.chosen(actor=actor, **validated(ListQuerySerializer, request.query_params))
        return answers.make(actor.account, listed.size, lambda: Response(rendering.metas(listed.read())))

    @extend_schema(
        operation_id="post_bot",
        summary="Create a bot",
        description="It takes the group `CreatingBotAllowed`. The bot is private.",
        tags=TAG,
        extensions=links(
            get_private_bot=_MADE,
            get_bot_summary=_MADE,
            patch_bot=_MADE,
            patch_bot_starred=_MADE,
            get_bot_versions=_MADE,
            delete_bot=_MADE,
        ),
        request=BotInputSerializer,
        examples=[A_BOT],
        responses={200: BotSerializer, **errors(400, 404, 409, 413, 415, 503)},
    )
    def create(self, request: Request) -> Response:
        sent = validated(BotInputSerializer, request.data)
        bot = editing.create(sent.pop("id"), sent, actor=caller_of(request))
        return Response(rendering.bot_output(bot, sharing.People(), None))

    @extend_schema(
        operation_id="get_pinned_bots",
        summary="List the bots that are pinned for everybody",
        tags=TAG,
        responses={200: BotMetaSerializer(many=True), **errors()},
    )
    def list_pinned(self, request: Request) -> Response:
        actor = caller_of(request)
        listed = listing.pinned_for(actor)
        return answers.make(actor.account, listed.size, lambda: Response(rendering.metas(listed.read())))


class BotViewSet(WireViewSet):
    """One bot, for who owns it."""

    @extend_schema(
        operation_id="get_private_bot",
        summary="Open a bot of your own",
        tags=TAG,
        responses={200: BotSerializer, **errors(404)},
    )
    def retrieve(self, request: Request, bot_id: str) -> Response:
        actor = caller_of(request)
        bot = access.get_owned(actor, bot_id)
        people, last_use, guardrails = sharing.people_of(bot), listing.last_use(actor, bot), guarding.shown(bot)
        size = rendering.size_of(bot)
        return answers.make(
            actor.account, size, lambda: Response(rendering.bot_output(bot, people, last_use, guardrails=guardrails))
        )

    @extend_schema(
        operation_id="patch_bot",
        summary="Change a bot",
        description="For its owner and Admin. An absent field keeps its value. What changes something makes a version.",
        tags=TAG,
        request=BotModifyInputSerializer,
        examples=[AN_EDIT],
        responses={200: BotModifyOutputSerializer, **errors(400, 404, 409, 413, 415, 503)},
    )
    def update(self, request: Request, bot_id: str) -> Response:
        sent = validated(BotModifyInputSerializer, request.data)
        base_version = sent.pop("base_version", None)
        bot = editing.modify(bot_id, sent, base_version=base_version, actor=caller_of(request))
        nulls = [name for name, value in sent.items() if value is None]
        return Response(rendering.modify_output(bot, guardrails=guarding.shown(bot), nulls=nulls))

    @extend_schema(
        operation_id="delete_bot",
        summary="Delete a bot",
        description="For its owner and Admin. Conversations with it can still be read. Its id is never given again. "
        "Where operators have put the bot on hold, Admin is refused (409); its owner is not.",
        tags=TAG,
        responses={200: VOID, **errors(400, 404, 409)},
    )
    def destroy(self, request: Request, bot_id: str) -> Response:
        editing.delete(bot_id, actor=caller_of(request))
        return Response(None)

    @extend_schema(
        operation_id="patch_bot_visibility",
        summary="Share a bot, or share it no more",
        description="For its owner and Admin. A pinned or published bot stays shared with everybody.",
        tags=TAG,
        request=VISIBILITY,
        examples=[SHARED_WITH_SOME],
        responses={200: VOID, **errors(400, 404, 413, 415)},
    )
    def share(self, request: Request, bot_id: str) -> Response:
        scope = request.data.get("target_shared_scope") if isinstance(request.data, dict) else None
        if not isinstance(scope, str) or scope not in VISIBILITIES:
            raise BadRequest(f"targetSharedScope: expected one of {', '.join(VISIBILITIES)}.")
        sent = validated(VISIBILITIES[scope], request.data)
        users, groups = sent.get("target_allowed_user_ids", ()), sent.get("target_allowed_group_ids", ())
        sharing.share(bot_id, Scope(scope), users, groups, actor=caller_of(request))
        return Response(None)


class UsableBotViewSet(WireViewSet):
    """One bot, for everybody who may chat with it."""

    @extend_schema(
        operation_id="get_bot_summary",
        summary="Open a bot to chat with it",
        tags=TAG,
        responses={200: BotSummarySerializer, **errors(404)},
    )
    def retrieve(self, request: Request, bot_id: str) -> Response:
        actor = caller_of(request)
        usable = access.get_usable(actor, bot_id)
        return Response(rendering.summary(usable, is_owned=access.owns(actor, usable.bot)))

    @extend_schema(
        operation_id="patch_bot_starred",
        summary="Star a bot, or take the star away",
        tags=TAG,
        request=StarredInputSerializer,
        responses={200: VOID, **errors(400, 404, 413, 415)},
    )
    def star(self, request: Request, bot_id: str) -> Response:
        starred = validated(StarredInputSerializer, request.data)["starred"]
        aliases.set_star(bot_id, starred=starred, actor=caller_of(request))
        return Response(None)

    @extend_schema(
        operation_id="delete_recently_used_bot",
        summary="Take a bot from your recently used ones",
        description="One that is not available any more leaves all your lists.",
        tags=TAG,
        responses={200: RemovedSerializer, **errors(404)},
    )
    def forget_use(self, request: Request, bot_id: str) -> Response:
        aliases.forget_use(bot_id, actor=caller_of(request))
        return Response({"message": f"Bot {bot_id} removed from recently used bots history"})

    @extend_schema(
        operation_id="get_available_tools",
        summary="List the tools that a bot may have",
        description="The same ones for every bot, and before the bot exists.",
        tags=TAG,
        responses={200: tool_shapes(many=True), **errors()},
    )
    def list_tools(self, request: Request, bot_id: str) -> Response:
        return Response(AVAILABLE)


class AdminBotViewSet(WireViewSet):
    """Anybody's bot, for Admin."""

    @extend_schema(
        operation_id="get_public_bots",
        summary="List bots by what they cost",
        description="For Admin: every bot that was used in some hours, private ones too. Today, where none are sent.",
        tags=ADMIN_TAG,
        extensions=links(get_public_bot=_LISTED),
        parameters=[RankingQuerySerializer],
        responses={200: SpendingBotSerializer(many=True), **errors(400)},
    )
    def list(self, request: Request) -> Response:
        query = validated(RankingQuerySerializer, request.query_params)
        dearest = spending.dearest_bots(hours=query["hours"], limit=query["limit"], actor=caller_of(request))
        return Response([rendering.spending_bot(bot, price) for bot, price in dearest])

    @extend_schema(
        operation_id="get_public_bot",
        summary="Open anybody's bot",
        description="Private ones too.",
        tags=ADMIN_TAG,
        responses={200: AdminBotSerializer, **errors(404)},
    )
    def retrieve(self, request: Request, bot_id: str) -> Response:
        actor = caller_of(request)
        bot = access.get_as_admin(actor, bot_id)
        people, last_use = sharing.people_of(bot), listing.last_use(actor, bot)
        size = rendering.size_of(bot)
        return answers.make(actor.account, size, lambda: Response(rendering.admin_output(bot, people, last_use)))

    @extend_schema(
        operation_id="patch_bot_pushed",
        summary="Pin a bot for everybody, or unpin it",
        description="For Admin. Only a bot of the scope `all` is pinned; `order` is its place among the pinned ones.",
        tags=ADMIN_TAG,
        request=PUSHED,
        responses={200: VOID, **errors(400, 404, 413, 415)},
    )
    def push(self, request: Request, bot_id: str) -> Response:
        actor = caller_of(request)
        if validated(UnpinInputSerializer, request.data)["to_pinned"]:
            sharing.pin(bot_id, validated(PinInputSerializer, request.data)["order"], actor=actor)
        else:
            sharing.unpin(bot_id, actor=actor)
        return Response(None)
