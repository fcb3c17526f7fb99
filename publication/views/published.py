"""The published API: what an integrator calls with a key."""

from typing import Any

from django.conf import settings
from django.http.response import HttpResponseBase
from django.utils import timezone
from drf_spectacular.utils import OpenApiExample, OpenApiParameter, extend_schema
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response

from bedrock_chat.database.connections import database_now
from bedrock_chat.identity.addresses import client_address
from bedrock_chat.identity.caller import caller_of
from bedrock_chat.serving import answers
from bedrock_chat.wire.errors import ServiceUnavailable, TooManyRequests
from bedrock_chat.wire.event_stream import EventStreamRenderer
from bedrock_chat.wire.openapi import VOID, errors
from bedrock_chat.wire.renderers import WireRenderer
from bedrock_chat.wire.requests import AFTER_RESPONSE
from bedrock_chat.wire.views import WireViewSet
from conversations import access
from conversations import rendering as conversation_rendering
from conversations.content import files
from conversations.streaming.openapi import EVENTS, RESTARTS, event_stream
from publication import accepting, authentication, limits, rendering, standing, stopping
from publication.authentication import ApiKeyAuthentication, Found
from publication.limits import Limits, Standing
from publication.models import LONGEST_AGENT
from publication.serializers.published import (
    AcceptedSerializer,
    AskInputSerializer,
    PublishedAnswerSerializer,
    PublishedConversationSerializer,
    read_asked,
)
from publication.streaming import following

TAG = ["published"]
A_QUESTION = OpenApiExample(
    "A question",
    request_only=True,
    value={
        "message": {"content": [{"contentType": "text", "body": "Hello!"}], "model": "claude-v4.5-sonnet"},
        "userLabel": "customer 4711",
    },
)


class OverLimit(TooManyRequests):
    """A request that the throttle or the quota has no room for, refused as API Gateway does."""

    def __init__(self, standing: Standing) -> None:
        is_quota = standing.refused_by == "quota"
        message = "Limit Exceeded" if is_quota else "Too Many Requests"
        kind = "LimitExceededException" if is_quota else "TooManyRequestsException"
        super().__init__(message, headers={"x-amzn-ErrorType": kind, **standing.headers}, extra={"message": message})


class PublishedViewSet(WireViewSet):
    """Every request needs a key and room in its limits, before its body is looked at."""

    authentication_classes = (ApiKeyAuthentication,)
    permission_classes = (AllowAny,)  # who has no key is refused by the authentication

    admitted: tuple[Limits, Standing] | None = None
    """What this request has used of which limits."""

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        found = authentication.find(request._request)
        is_question = request.method == "POST" and self.action != "stop"
        if is_question or (settings.POLLS_COUNT and self.action != "health"):
            wanted = limits.of_requests(found.publication, found.key.lineage, found.key.begun_at)
        elif self.action == "health":
            self._note_use(request, found)
            return
        else:
            wanted = limits.of_polls(found.publication, found.key.lineage)
        standing = limits.admit(wanted)
        if standing.refused_by is not None:
            raise OverLimit(standing)
        self.admitted = wanted, standing
        self._note_use(request, found)

    def finalize_response(self, request: Request, response: Any, *args: Any, **kwargs: Any) -> Any:
        finalized = super().finalize_response(request, response, *args, **kwargs)
        if self.admitted is not None:
            for name, value in self.admitted[1].headers.items():
                finalized.headers.setdefault(name, value)
        return finalized

    def _note_use(self, request: Request, found: Found) -> None:
        """Has the last use of the key noted, once the client has its response. A refused request is no use."""
        now, last = timezone.now(), found.key.last_used_at
        later = request.META.get(AFTER_RESPONSE)
        if later is not None and (last is None or now - last >= authentication.USE_PAUSE):
            address = client_address(request._request)
            agent = request.META.get("HTTP_USER_AGENT", "").replace("\0", "")[:LONGEST_AGENT]
            later.append(lambda: authentication.note_use(found.key, address, agent, now))


class PublishedTurnViewSet(PublishedViewSet):
    """Questions, which are answered later, or as somebody listens."""

    renderer_classes = (WireRenderer, EventStreamRenderer)

    @extend_schema(
        operation_id="published_post_conversation",
        summary="Ask",
        description="The question is stored, and answered by a worker. Ask for its answer by the ids.\n\n"
        "With `Accept: text/event-stream` the answer comes as it is written, as Server-Sent Events. A question that "
        "has to wait for others of its conversation says so first (`waiting`, with its ids). A turn goes on when its "
        "client leaves, and in another process when its own dies.\n\n" + EVENTS + RESTARTS,
        tags=TAG,
        request=AskInputSerializer,
        examples=[A_QUESTION],
        responses={
            (200, "application/json"): AcceptedSerializer,
            **event_stream(restarts=True),
            **errors(400, 409, 413, 415, 429, 503),
        },
    )
    def create(self, request: Request, bot_id: str, stage: str) -> HttpResponseBase:
        actor = caller_of(request)
        try:
            question = read_asked(request.data)
            if isinstance(request.accepted_renderer, EventStreamRenderer):
                return following.ask(question, actor=actor)
            turn = accepting.accept(question, actor=actor)
        except ServiceUnavailable:
            if self.admitted is not None:
                limits.give_back(*self.admitted)
            raise
        return Response(rendering.accepted(turn))


class PublishedStreamViewSet(PublishedViewSet):
    """Answers that are being written, by the ids of their questions."""

    @extend_schema(
        operation_id="published_stream_message",
        summary="Come back to an answer that is being written",
        description="Of any question that this API has accepted, streamed or not. After `Last-Event-ID` comes what was "
        "missed and the rest; without it, everything. Of a turn that is over the stored answer is told, from "
        "`message_start` on; 204 where its end was the last event seen. `X-Turn-Status` is pending, running, failed or "
        "done. It counts as a GET.\n\n" + EVENTS + RESTARTS,
        tags=TAG,
        parameters=[
            OpenApiParameter("Last-Event-ID", str, OpenApiParameter.HEADER, description="The last event's id seen.")
        ],
        responses={**event_stream(restarts=True), 204: None, **errors(404, 429, 503)},
    )
    def stream(
        self, request: Request, bot_id: str, stage: str, conversation_id: str, message_id: str
    ) -> HttpResponseBase:
        last_seen = request.headers.get("Last-Event-ID", "")
        resumed, status = following.resume(conversation_id, message_id, last_seen, actor=caller_of(request))
        response: HttpResponseBase = Response(status=204) if resumed is None else resumed
        response.headers[standing.HEADER] = status
        return response

    @extend_schema(
        operation_id="published_stop_message",
        summary="Stop an answer that is being written",
        description="What was said so far is kept, with `stopReason` `stopped`. A question that still waits is never "
        "answered. Nothing happens to a turn that is over. It counts as a GET.",
        tags=TAG,
        request=None,
        responses={200: VOID, **errors(404, 429)},
    )
    def stop(self, request: Request, bot_id: str, stage: str, conversation_id: str, message_id: str) -> Response:
        stopping.stop(conversation_id, message_id, actor=caller_of(request))
        return Response(None)


class PublishedConversationViewSet(PublishedViewSet):
    """Conversations of this API, and answers to its questions."""

    @extend_schema(
        operation_id="published_get_conversation",
        summary="Open a conversation",
        description="404 until its first question was answered.",
        tags=TAG,
        responses={200: PublishedConversationSerializer, **errors(404, 429)},
    )
    def retrieve(self, request: Request, bot_id: str, stage: str, conversation_id: str) -> HttpResponseBase:
        actor = caller_of(request)
        conversation = access.get_conversation(actor, conversation_id)
        bot = access.bot_of(conversation, actor)
        size = conversation_rendering.size_of(conversation, with_files=True)

        def render() -> Response:
            show = files.Inline()
            return Response(
                conversation_rendering.conversation_output(conversation, database_now(), show, bot),
            )

        return answers.make(actor.account, size, render)

    @extend_schema(
        operation_id="published_get_message",
        summary="Get the answer to a question",
        description="404 with `Retry-After` while it is not there yet, 409 with the reason where the turn has failed; "
        "`X-Turn-Status` is pending, running, failed or done.",
        tags=TAG,
        responses={200: PublishedAnswerSerializer, **errors(404, 409, 429)},
    )
    def retrieve_message(
        self, request: Request, bot_id: str, stage: str, conversation_id: str, message_id: str
    ) -> Response:
        answer = standing.answer_of(conversation_id, message_id, actor=caller_of(request))
        output = rendering.answer_output(answer, files.Inline())
        return Response(output, headers={standing.HEADER: standing.TurnStatus.DONE})

    @extend_schema(
        operation_id="published_health",
        summary="Whether the API is there, and the key is valid",
        tags=TAG,
        responses={200: {"type": "object", "properties": {"status": {"type": "string", "enum": ["ok"]}}}, **errors()},
    )
    def health(self, request: Request, bot_id: str, stage: str) -> Response:
        return Response({"status": "ok"})
