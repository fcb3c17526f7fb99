"""The published API: what an integrator calls with a key."""

from http import HTTPStatus
from typing import Any

from django.conf import settings
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils import timezone
from drf_spectacular.utils import OpenApiExample, OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response

from bedrock_chat.database.connections import database_now
from bedrock_chat.identity.addresses import client_address
from bedrock_chat.identity.caller import caller_of
from bedrock_chat.ledger.budgets.refusals import BudgetExceeded, BudgetUsedUp
from bedrock_chat.ledger.rollups import refusals
from bedrock_chat.serving import answers, waits
from bedrock_chat.wire.errors import ApiError, TooManyRequests, as_api_error, json_error
from bedrock_chat.wire.event_stream import EventStreamRenderer
from bedrock_chat.wire.openapi import VOID, errors
from bedrock_chat.wire.renderers import JSON, WireRenderer
from bedrock_chat.wire.requests import AFTER_RESPONSE
from bedrock_chat.wire.views import WireViewSet, validated
from conversations import access
from conversations import rendering as conversation_rendering
from conversations.content import files
from conversations.streaming.openapi import EVENTS, RESTARTS, event_stream
from publication import accepting, authentication, limits, rendering, standing, stopping, waiting
from publication.authentication import ApiKeyAuthentication, KeyRefused, KnownKey
from publication.idempotency import claiming, header
from publication.idempotency.claiming import Earlier, Keyed, Repeated
from publication.limits import Limits, Standing
from publication.models import LONGEST_AGENT, Route
from publication.serializers.published import (
    AcceptedSerializer,
    AskInputSerializer,
    PublishedAnswerSerializer,
    PublishedConversationSerializer,
    RefusalSerializer,
    WaitQuerySerializer,
    read_question,
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

TURN_STATUS = OpenApiParameter(
    standing.HEADER,
    {"type": "string", "enum": list(standing.TurnStatus)},
    OpenApiParameter.HEADER,
    response=[200, 404, 409],
    description="What is true of the question. Absent where there is no such question.",
)
IDEMPOTENCY_KEY = OpenApiParameter(
    header.NAME,
    str,
    OpenApiParameter.HEADER,
    description="1 to 255 printable ASCII characters that name this request, quoted or bare. Sent again with them "
    "within 24 hours, it counts for nothing, is not done again, and has the same answer.",
)


def _refusal(status: int, message: str, description: str) -> OpenApiResponse:
    value = {"message": message, "detail": message, "errors": [message]}
    example = OpenApiExample(message, value=value, response_only=True, status_codes=[str(status)])
    return OpenApiResponse(RefusalSerializer, description, [example])


REFUSALS = {
    (403, JSON): _refusal(403, "Forbidden", "No key, or one that opens nothing here; which, is not told."),
    (429, JSON): _refusal(
        429, "Limit Exceeded", "The throttle or the quota has no room; `Retry-After` says when it has again."
    ),
}
"""What every route refuses."""


class OverLimit(TooManyRequests):
    """A request that the throttle or the quota has no room for, refused as API Gateway does."""

    def __init__(self, standing: Standing) -> None:
        is_quota = standing.refused_by == "quota"
        message = "Limit Exceeded" if is_quota else "Too Many Requests"
        kind = "LimitExceededException" if is_quota else "TooManyRequestsException"
        super().__init__(message, headers={"x-amzn-ErrorType": kind, **standing.headers}, extra={"message": message})


class OverBudget(TooManyRequests):
    """A question that a budget has no room for. Whose it is, and how large, is not told to who has a key alone."""

    def __init__(self, refusal: BudgetExceeded) -> None:
        is_used_up = isinstance(refusal, BudgetUsedUp)
        message = "Limit Exceeded" if is_used_up else "Too Many Requests"
        kind = "LimitExceededException" if is_used_up else "TooManyRequestsException"
        headers = {"x-amzn-ErrorType": kind, "Retry-After": refusal.headers["Retry-After"]}
        super().__init__(message, headers=headers, extra={"message": message})


class PublishedViewSet(WireViewSet):
    """Every request needs a key and room in its limits, before its body is looked at."""

    authentication_classes: tuple[type[ApiKeyAuthentication], ...] = (ApiKeyAuthentication,)
    permission_classes = (AllowAny,)  # who has no key is refused by the authentication

    route: Route | None = None
    """Where the view's POST may have an idempotency key."""
    keyed: Keyed | None = None
    earlier: Earlier | None = None
    """The idempotency key of this request, and the earlier request with the same one."""
    admitted: tuple[Limits, Standing] | None = None
    """What this request has used of which limits."""

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        """Refuses before DRF makes anything of the request, which took a third of what a refusal costs."""
        try:
            self._admit(request)
        except ApiError as refusal:
            response = json_error(refusal)
            for name, value in self.default_response_headers.items():
                response.headers[name] = value
            return response
        return super().dispatch(request, *args, **kwargs)

    def _admit(self, request: HttpRequest) -> None:
        """Finds the key, and counts the request for its limits. Raises KeyRefused, OverLimit, TooManyRequests, and
        BadRequest for an idempotency key that is none.
        """
        known = authentication.find(request)
        if self._is_repeated(request, known):
            self._note_use(request, known)
            return
        action = self.action_map.get(str(request.method).lower())
        is_question = request.method == "POST" and action != "stop"
        if is_question or (settings.POLLS_COUNT and action != "health"):
            wanted = limits.of_requests(known.publication, known.key.lineage, known.key.begun_at)
        elif action == "health":
            self._note_use(request, known)
            return
        else:
            wanted = limits.of_polls(known.publication, known.key.lineage)
        has_waited = waits.has_waited(request)
        try:
            standing = limits.standing(wanted) if has_waited else limits.admit(wanted, known.state)
        except limits.Forgotten:
            raise KeyRefused from None
        if standing.refused_by is not None:
            # The first request came at the same time, and had the last room.
            if self.keyed is not None and self._is_repeated(request, known):
                return
            refusals.count(
                f"published_{standing.refused_by}",
                payer_id=known.caller.payer_id or "",
                bot_id=known.publication.bot_id,
                key_id=known.key.pk,
            )
            raise OverLimit(standing)
        self.admitted = wanted, standing
        self._note_use(request, known)

    def handle_exception(self, exc: Exception) -> Response:
        return super().handle_exception(OverBudget(exc) if isinstance(exc, BudgetExceeded) else exc)

    def finalize_response(self, request: Request, response: Any, *args: Any, **kwargs: Any) -> Any:
        finalized = super().finalize_response(request, response, *args, **kwargs)
        if self.admitted is not None:
            for name, value in self.admitted[1].headers.items():
                finalized.headers.setdefault(name, value)
        return finalized

    def give_back(self) -> None:
        """Takes back what this request has used of the limits: it is refused after all, or was accepted before."""
        if self.admitted is not None:
            limits.give_back(*self.admitted)

    def _is_repeated(self, request: HttpRequest, known: KnownKey) -> bool:
        """Whether an earlier request has the idempotency key of this one. Raises BadRequest for what is no key."""
        if self.route is not None and request.method == "POST":
            self.keyed = claiming.keyed_of(request.headers, known.publication.pk, known.key.lineage, self.route)
            self.earlier = None if self.keyed is None else claiming.find(self.keyed)
        return self.earlier is not None

    def _note_use(self, request: HttpRequest, known: KnownKey) -> None:
        """Has the last use of the key noted, once the client has its response. A refused request is no use."""
        now, last = timezone.now(), known.key.last_used_at
        later = request.META.get(AFTER_RESPONSE)
        if later is not None and (last is None or now - last >= authentication.USE_PAUSE):
            address = client_address(request)
            agent = request.META.get("HTTP_USER_AGENT", "").replace("\0", "")[:LONGEST_AGENT]
            later.append(lambda: authentication.note_use(known.key, address, agent, now))


class PublishedTurnViewSet(PublishedViewSet):
    """Questions, which are answered later, or as somebody listens."""

    renderer_classes = (WireRenderer, EventStreamRenderer)

    route = Route.CONVERSATION

    @extend_schema(
        operation_id="published_post_conversation",
        summary="Ask",
        description="The question is stored, and answered by a worker. Ask for its answer by the ids.\n\n"
        "With `Accept: text/event-stream` the answer comes as it is written, as Server-Sent Events. A question that "
        "has to wait for others of its conversation says so first (`waiting`, with its ids). A turn goes on when its "
        "client leaves, and in another process when its own dies.\n\n" + EVENTS + RESTARTS,
        tags=TAG,
        parameters=[IDEMPOTENCY_KEY],
        request=AskInputSerializer,
        examples=[A_QUESTION],
        responses={
            (200, "application/json"): AcceptedSerializer,
            **event_stream(restarts=True),
            **errors(400, 409, 413, 415, 422, 503),
            **REFUSALS,
        },
    )
    def create(self, request: Request, bot_id: str, stage: str) -> HttpResponseBase:
        digest = "" if self.keyed is None else claiming.digest_of(request.data)
        if self.earlier is not None:
            return _accepted_again(request, self.earlier.replay(digest))
        question, actor = read_question(request.data), caller_of(request)
        keyed = None if self.keyed is None else (self.keyed, digest)
        try:
            if _is_streamed(request):
                return following.ask(question, keyed, actor=actor)
            return Response(rendering.accepted(accepting.accept(question, keyed, actor=actor)))
        except BudgetExceeded:
            self.give_back()
            raise
        except Repeated as repeated:
            self.give_back()
            return _accepted_again(request, repeated.earlier.replay(digest))
        except Exception as error:  # also those of a full disk, or of a database that does not answer
            if as_api_error(error).status_code == HTTPStatus.SERVICE_UNAVAILABLE:
                self.give_back()
            raise


def _is_streamed(request: Request) -> bool:
    return isinstance(request.accepted_renderer, EventStreamRenderer)


def _accepted_again(request: Request, kept: str) -> HttpResponseBase:
    """The response to a question that an earlier request with the same idempotency key has asked. Spends nothing."""
    accepted = accepting.accepted_before(kept)
    if not _is_streamed(request):
        return Response(rendering.accepted(accepted))
    response, _ = following.resume(accepted.conversation_id, accepted.message_id, "", actor=caller_of(request))
    assert response is not None, "Only who has seen the last event gets no stream."
    return response


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
        responses={**event_stream(restarts=True), 204: None, **errors(404, 503), **REFUSALS},
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
        responses={200: VOID, **errors(404), **REFUSALS},
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
        responses={200: PublishedConversationSerializer, **errors(404), **REFUSALS},
    )
    def retrieve(self, request: Request, bot_id: str, stage: str, conversation_id: str) -> HttpResponseBase:
        actor = caller_of(request)
        conversation = access.get_conversation(actor, conversation_id)
        bot = access.bot_of(conversation, actor)
        size = conversation_rendering.size_of(conversation, with_files=True)

        def render() -> Response:
            show = files.Inline()
            return Response(
                conversation_rendering.conversation_output(conversation, database_now(), show, bot, actor=actor),
            )

        return answers.make(actor.account, size, render)

    @extend_schema(
        operation_id="published_get_message",
        summary="Get the answer to a question",
        description="404 with `Retry-After` while it is not there yet, 409 with the reason where the turn has failed; "
        "`X-Turn-Status` is pending, running, failed or done. With `wait`, the response comes as soon as the answer is "
        "there or the turn has failed, or when so many seconds are over; sooner where too many requests wait, or where "
        "the server is about to end. A key that ends meanwhile gets 403.",
        tags=TAG,
        parameters=[WaitQuerySerializer, TURN_STATUS],
        responses={200: PublishedAnswerSerializer, **errors(400, 404, 409), **REFUSALS},
    )
    def retrieve_message(
        self, request: Request, bot_id: str, stage: str, conversation_id: str, message_id: str
    ) -> Response:
        seconds: int | None = validated(WaitQuerySerializer, request.query_params).get("wait")
        try:
            answer = standing.answer_of(conversation_id, message_id, actor=caller_of(request))
        except standing.NotYet as not_yet:
            if seconds is not None:
                key = authentication.find(request._request).key
                waits.ask(request._request, waiting.topics(not_yet.turn, key), min(seconds, waiting.LONGEST_SECONDS))
            raise
        output = rendering.answer_output(answer, files.Inline())
        return Response(output, headers={standing.HEADER: standing.TurnStatus.DONE})

    @extend_schema(
        operation_id="published_health",
        summary="Whether the API is there, and the key is valid",
        tags=TAG,
        responses={200: {"type": "object", "properties": {"status": {"type": "string", "enum": ["ok"]}}}, **REFUSALS},
    )
    def health(self, request: Request, bot_id: str, stage: str) -> Response:
        return Response({"status": "ok"})
