"""Conversations over REST: each view parses, makes one call and renders."""

from django.http.response import HttpResponseBase
from drf_spectacular.utils import OpenApiExample, OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from bedrock_chat.database.connections import database_now
from bedrock_chat.identity.caller import caller_of
from bedrock_chat.serving import answers
from bedrock_chat.wire import paging
from bedrock_chat.wire.event_stream import EventStreamRenderer
from bedrock_chat.wire.openapi import VOID, errors, links
from bedrock_chat.wire.renderers import WireRenderer
from bedrock_chat.wire.views import WireViewSet, validated
from conversations import access, deleting, editing, rendering
from conversations.content import files
from conversations.search import hits
from conversations.serializers import (
    BLOBS_PARAMETER,
    BulkDeletedSerializer,
    BulkDeleteSerializer,
    ChatInputSerializer,
    ChatOutputSerializer,
    ConversationMetaSerializer,
    ConversationSerializer,
    FeedbackInputSerializer,
    FeedbackSerializer,
    FoundConversationSerializer,
    NewTitleSerializer,
    ProposedTitleSerializer,
    RelatedDocumentSerializer,
    SearchSerializer,
    read_chat_input,
)
from conversations.streaming import driver, resuming, sse
from conversations.streaming.openapi import EVENTS, event_stream
from conversations.titles import proposing
from conversations.turn import lifecycle, stopping

TAG = ["conversation"]

# Links of the OpenAPI document lead from a response to further operations. These say where it has the ids they need.
_CREATED = {"conversation_id": "$response.body#/conversationId"}
_ASKED = {**_CREATED, "message_id": "$response.body#/message/parent"}
_OPENED = {"conversation_id": "$response.body#/id"}
_LAST = {**_OPENED, "message_id": "$response.body#/lastMessageId"}
_LISTED = {"conversation_id": "$response.body#/0/id"}


def _show_files(request: Request) -> files.ShowFile:
    """How the query parameter `blobs` wants files shown. Raises BadRequest."""
    return files.shown_as(request.query_params.get("blobs", files.INLINE))


FIRST_QUESTION = OpenApiExample(
    "A first question",
    request_only=True,
    value={
        "conversationId": "first",
        "message": {"content": [{"contentType": "text", "body": "Hello!"}], "model": "claude-v4.5-sonnet"},
    },
)


class TurnViewSet(WireViewSet):
    """A question and its answer."""

    renderer_classes = (WireRenderer, EventStreamRenderer)

    @extend_schema(
        operation_id="post_conversation",
        summary="Send a message and get the answer",
        description="With `Accept: text/event-stream` the answer comes as it is written, as Server-Sent Events.\n\n"
        + EVENTS,
        tags=TAG,
        extensions=links(
            get_conversation=_CREATED,
            delete_conversation=_CREATED,
            patch_conversation_title=_CREATED,
            get_proposed_title=_CREATED,
            get_related_documents=_CREATED,
            put_feedback=_ASKED,
            stream_message=_ASKED,
            stop_message=_ASKED,
        ),
        parameters=[
            OpenApiParameter(
                "X-Budget-Remaining",
                str,
                OpenApiParameter.HEADER,
                response=[200],
                description="What was left of the caller's budgets when the turn began: "
                "`12.5;unit=usd;period=month;payer=user, …`. Absent without any.",
            )
        ],
        request=ChatInputSerializer,
        examples=[FIRST_QUESTION],
        responses={
            (200, "application/json"): ChatOutputSerializer,
            **event_stream(),
            **errors(400, 404, 409, 413, 415, 502, 503, 504),
        },
    )
    def create(self, request: Request) -> HttpResponseBase:
        actor, chat = caller_of(request), read_chat_input(request.data)
        if isinstance(request.accepted_renderer, EventStreamRenderer):
            return sse.respond(driver.begin(chat, actor=actor))
        answer = lifecycle.drain(lifecycle.run(chat, actor=actor))
        return Response(rendering.chat_output(answer, files.Inline()), headers=answer.headers)


class RunningTurnViewSet(WireViewSet):
    """A turn that was begun before, by the id of its question."""

    @extend_schema(
        operation_id="stream_message",
        summary="Come back to an answer that is being written",
        description="`messageId` is the question's. After `Last-Event-ID` comes what was missed and the rest; without "
        "it, everything. Of a turn that is over the stored answer is told, from `message_start` on; 204 where its end "
        "was the last event seen. Where another process runs the turn and there is no Redis, `waiting` comes first, "
        "and then the stored answer.\n\n" + EVENTS,
        tags=TAG,
        parameters=[
            OpenApiParameter("Last-Event-ID", str, OpenApiParameter.HEADER, description="The last event's id seen.")
        ],
        responses={**event_stream(), 204: None, **errors(404)},
    )
    def stream(self, request: Request, conversation_id: str, message_id: str) -> HttpResponseBase:
        last_seen = request.headers.get("Last-Event-ID", "")
        resumed = resuming.resume(conversation_id, message_id, last_seen, actor=caller_of(request))
        return Response(status=204) if resumed is None else sse.respond(resumed)

    @extend_schema(
        operation_id="stop_message",
        summary="Stop an answer that is being written",
        description="`messageId` is the question's. What was said so far is kept, with `stopReason` `stopped`. Nothing "
        "happens to a turn that is over.",
        tags=TAG,
        request=None,
        responses={200: VOID, **errors(404)},
    )
    def stop(self, request: Request, conversation_id: str, message_id: str) -> Response:
        stopping.stop(conversation_id, message_id, actor=caller_of(request))
        return Response(None)


class ConversationListViewSet(WireViewSet):
    """All conversations of the caller."""

    @extend_schema(
        operation_id="get_conversations",
        summary="List your conversations, newest first",
        description="Without `limit` and `cursor`, all of them.",
        tags=TAG,
        extensions=links(get_conversation=_LISTED, delete_conversation=_LISTED),
        parameters=[*paging.PARAMETERS, paging.LINK],
        responses={200: ConversationMetaSerializer(many=True), **errors(400)},
    )
    def list(self, request: Request) -> Response:
        page = paging.read(request)
        metas = rendering.conversation_metas(access.visible_conversations(caller_of(request), page))
        return paging.respond(request, page, metas, key="id")

    @extend_schema(
        operation_id="search_conversations",
        summary="Search your conversations",
        description="In titles and messages, the best first. What was said is found a few seconds after its turn. "
        "Where nothing answers the words as they stand, they are taken for beginnings and corrected, and where nothing "
        "answers that either, some of them will do.",
        tags=TAG,
        parameters=[SearchSerializer],
        responses={200: FoundConversationSerializer(many=True), **errors(400)},
    )
    def search(self, request: Request) -> Response:
        query = validated(SearchSerializer, request.query_params)
        return Response(hits.search(**query, actor=caller_of(request)))

    @extend_schema(
        operation_id="delete_conversations",
        summary="Delete all your conversations",
        tags=TAG,
        responses={200: VOID, **errors(507)},
    )
    def destroy_all(self, request: Request) -> Response:
        deleting.delete_all(actor=caller_of(request))
        return Response(None)

    @extend_schema(
        operation_id="bulk_delete_conversations",
        summary="Delete several conversations",
        description="In one step: all that are there are deleted, and the ids of the others are told.",
        tags=TAG,
        request=BulkDeleteSerializer,
        responses={200: BulkDeletedSerializer, **errors(400, 413, 415)},
    )
    def destroy_many(self, request: Request) -> Response:
        sent = validated(BulkDeleteSerializer, request.data)
        deleted = deleting.delete_many(sent["conversation_ids"], actor=caller_of(request))
        return Response({"deletedCount": len(deleted.ids), "failedIds": deleted.missing})


class ConversationViewSet(WireViewSet):
    """One conversation."""

    @extend_schema(
        operation_id="get_conversation",
        summary="Open a conversation",
        tags=TAG,
        extensions=links(
            delete_conversation=_OPENED,
            patch_conversation_title=_OPENED,
            get_proposed_title=_OPENED,
            get_related_documents=_OPENED,
            put_feedback=_LAST,
        ),
        parameters=[BLOBS_PARAMETER],
        responses={200: ConversationSerializer, **errors(400, 404)},
    )
    def retrieve(self, request: Request, conversation_id: str) -> Response:
        actor, show = caller_of(request), _show_files(request)
        conversation = access.get_conversation(actor, conversation_id)
        bot = access.bot_of(conversation, actor)
        size = rendering.size_of(conversation, with_files=isinstance(show, files.Inline))

        def render() -> Response:
            output = rendering.conversation_output(conversation, database_now(), show, bot, actor=actor)
            return Response(output)

        return answers.make(actor.account, size, render)

    @extend_schema(
        operation_id="delete_conversation",
        summary="Delete a conversation",
        tags=TAG,
        responses={200: VOID, **errors(404, 507)},
    )
    def destroy(self, request: Request, conversation_id: str) -> Response:
        deleting.delete(conversation_id, actor=caller_of(request))
        return Response(None)

    @extend_schema(
        operation_id="patch_conversation_title",
        summary="Rename a conversation",
        tags=TAG,
        request=NewTitleSerializer,
        responses={200: VOID, **errors(400, 404, 413, 415)},
    )
    def rename(self, request: Request, conversation_id: str) -> Response:
        title = validated(NewTitleSerializer, request.data)["new_title"]
        editing.rename(conversation_id, title, actor=caller_of(request))
        return Response(None)

    @extend_schema(
        operation_id="get_proposed_title",
        summary="Propose a title",
        tags=TAG,
        responses={200: ProposedTitleSerializer, **errors(404, 503)},
    )
    def propose_title(self, request: Request, conversation_id: str) -> Response:
        return Response({"title": proposing.propose(conversation_id, actor=caller_of(request))})


class FeedbackViewSet(WireViewSet):
    """What a user thinks of a message."""

    @extend_schema(
        operation_id="put_feedback",
        summary="Give feedback on a message",
        description="On any message: an answer, a question, `system`. It takes the place of earlier feedback.",
        tags=TAG,
        request=FeedbackInputSerializer,
        responses={200: FeedbackSerializer, **errors(400, 404, 413, 415)},
    )
    def update(self, request: Request, conversation_id: str, message_id: str) -> Response:
        feedback_input = validated(FeedbackInputSerializer, request.data)
        feedback = editing.give_feedback(
            conversation_id,
            message_id,
            thumbs_up=feedback_input["thumbs_up"],
            category=feedback_input.get("category") or "",
            comment=feedback_input.get("comment") or "",
            actor=caller_of(request),
        )
        return Response(feedback)


class RelatedDocumentViewSet(WireViewSet):
    """What tools found for the answers of a conversation."""

    @extend_schema(
        operation_id="get_related_documents",
        summary="List what was found for a conversation's answers",
        description="By `sourceId`, from the last to the first.",
        tags=TAG,
        extensions=links(
            get_related_document={
                "conversation_id": "$request.path.conversation_id",
                "source_id": "$response.body#/0/sourceId",
            }
        ),
        parameters=[BLOBS_PARAMETER],
        responses={200: RelatedDocumentSerializer(many=True), **errors(400, 404)},
    )
    def list(self, request: Request, conversation_id: str) -> Response:
        show, actor = _show_files(request), caller_of(request)
        conversation = access.get_conversation(actor, conversation_id)
        rows = access.related_documents(conversation)
        return Response(rendering.related_documents(rows, show, conversation, actor=actor))

    @extend_schema(
        operation_id="get_related_document",
        summary="Open a document that was found for an answer",
        tags=TAG,
        parameters=[BLOBS_PARAMETER],
        responses={200: RelatedDocumentSerializer, **errors(400, 404)},
    )
    def retrieve(self, request: Request, conversation_id: str, source_id: str) -> Response:
        show, actor = _show_files(request), caller_of(request)
        conversation = access.get_conversation(actor, conversation_id)
        row = access.get_related_document(conversation, source_id)
        return Response(rendering.related_document(row, show, conversation, actor=actor))
