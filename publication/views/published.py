"""The published API: what an integrator calls with a key."""

from typing import Any

from django.conf import settings
from django.http.response import HttpResponseBase
from django.utils import timezone
from drf_spectacular.utils import OpenApiExample, OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response

from bedrock_chat.database.connections import database_now
from bedrock_chat.encryption.errors import EncryptionError
from bedrock_chat.identity.addresses import client_address
from bedrock_chat.identity.caller import caller_of
from bedrock_chat.ledger.rollups import refusals
from bedrock_chat.serving import answers
from bedrock_chat.wire.errors import ServiceUnavailable, TooManyRequests
from bedrock_chat.wire.openapi import errors
from bedrock_chat.wire.renderers import JSON
from bedrock_chat.wire.requests import AFTER_RESPONSE
from bedrock_chat.wire.views import WireViewSet
from conversations import access
from conversations import rendering as conversation_rendering
from conversations.content import files
from publication import accepting, authentication, limits, rendering, standing
from publication.accepting import Accepted
from publication.authentication import ApiKeyAuthentication, Found
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
    read_asked,
)

TAG = ["published"]
A_QUESTION = OpenApiExample(
    "A question",
    request_only=True,
    value={
        "message": {"content": [{"contentType": "text", "body": "Hello!"}], "model": "claude-v4.5-sonnet"},
        "userLabel": "customer 4711",
    },
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


class PublishedViewSet(WireViewSet):
    """Every request needs a key and room in its limits, before its body is looked at."""

    authentication_classes = (ApiKeyAuthentication,)
    permission_classes = (AllowAny,)  # who has no key is refused by the authentication

    route: Route | None = None
    """Where the view's POST may have an idempotency key."""
    keyed: Keyed | None = None
    earlier: Earlier | None = None
    """The idempotency key of this request, and the earlier request with the same one."""
    admitted: tuple[Limits, Standing] | None = None
    """What this request has used of which limits."""

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        found = authentication.find(request._request)
        if self._is_repeated(request, found):
            self._note_use(request, found)
            return
        if request.method == "POST" or (settings.POLLS_COUNT and self.action != "health"):
            wanted = limits.of_requests(found.publication, found.key.lineage, found.key.begun_at)
        elif self.action == "health":
            self._note_use(request, found)
            return
        else:
            wanted = limits.of_polls(found.publication, found.key.lineage)
        standing = limits.admit(wanted, found.state)
        if standing.refused_by is not None:
            if self._is_repeated(request, found):  # the first request came at the same time, and had the last room
                return
            refusals.count(
                standing.refused_by,
                payer_id=found.caller.payer_id or "",
                bot_id=found.publication.bot_id,
                key_id=found.key.pk,
            )
            raise OverLimit(standing)
        self.admitted = wanted, standing
        self._note_use(request, found)

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

    def _is_repeated(self, request: Request, found: Found) -> bool:
        """Whether an earlier request has the idempotency key of this one. Raises BadRequest for what is no key."""
        if self.route is not None and request.method == "POST":
            self.keyed = claiming.keyed_of(request.headers, found.publication.pk, found.key.lineage, self.route)
            self.earlier = None if self.keyed is None else claiming.find(self.keyed)
        return self.earlier is not None

    def _note_use(self, request: Request, found: Found) -> None:
        """Has the last use of the key noted, once the client has its response. A refused request is no use."""
        now, last = timezone.now(), found.key.last_used_at
        later = request.META.get(AFTER_RESPONSE)
        if later is not None and (last is None or now - last >= authentication.USE_PAUSE):
            address = client_address(request._request)
            agent = request.META.get("HTTP_USER_AGENT", "").replace("\0", "")[:LONGEST_AGENT]
            later.append(lambda: authentication.note_use(found.key, address, agent, now))


class PublishedTurnViewSet(PublishedViewSet):
    """Questions, which are answered later."""

    route = Route.CONVERSATION

    @extend_schema(
        operation_id="published_post_conversation",
        summary="Ask",
        description="The question is stored, and answered by a worker. Ask for its answer by the ids.",
        tags=TAG,
        parameters=[IDEMPOTENCY_KEY],
        request=AskInputSerializer,
        examples=[A_QUESTION],
        responses={200: AcceptedSerializer, **errors(400, 409, 413, 415, 422, 503), **REFUSALS},
    )
    def create(self, request: Request, bot_id: str, stage: str) -> Response:
        return Response(rendering.accepted(self._accept(request)))

    def _accept(self, request: Request) -> Accepted:
        """Where the question was stored: now, or when an earlier request with the same idempotency key came."""
        digest = "" if self.keyed is None else claiming.digest_of(request.data)
        if self.earlier is not None:
            return accepting.accepted_before(self.earlier.replay(digest))
        question = read_asked(request.data)
        keyed = None if self.keyed is None else (self.keyed, digest)
        try:
            return accepting.accept(question, keyed, actor=caller_of(request))
        except (ServiceUnavailable, EncryptionError):
            self.give_back()
            raise
        except Repeated as repeated:
            self.give_back()
            return accepting.accepted_before(repeated.earlier.replay(digest))


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
                conversation_rendering.conversation_output(conversation, database_now(), show, bot),
            )

        return answers.make(actor.account, size, render)

    @extend_schema(
        operation_id="published_get_message",
        summary="Get the answer to a question",
        description="404 with `Retry-After` while it is not there yet, 409 with the reason where the turn has failed; "
        "`X-Turn-Status` is pending, running, failed or done.",
        tags=TAG,
        responses={200: PublishedAnswerSerializer, **errors(404, 409), **REFUSALS},
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
        responses={200: {"type": "object", "properties": {"status": {"type": "string", "enum": ["ok"]}}}, **REFUSALS},
    )
    def health(self, request: Request, bot_id: str, stage: str) -> Response:
        return Response({"status": "ok"})
