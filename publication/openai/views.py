"""The published API in OpenAI's language: what its clients call with a key, by the address `…/v1`."""

import orjson
from django.http.response import HttpResponseBase
from drf_spectacular.utils import OpenApiExample, OpenApiResponse, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from bedrock_chat.encryption.errors import EncryptionError
from bedrock_chat.identity.caller import caller_of
from bedrock_chat.wire.errors import ServiceUnavailable, TooManyRequests
from bedrock_chat.wire.event_stream import EVENT_STREAM
from bedrock_chat.wire.renderers import JSON
from bedrock_chat.wire.requests import HANG_UP
from bots import chatting
from conversations.streaming.log import Log
from publication import authentication
from publication.authentication import ApiKeyAuthentication, BearerKeyAuthentication
from publication.idempotency import claiming
from publication.idempotency.claiming import Repeated
from publication.models import Route
from publication.openai import answering, composing, rendering, streaming
from publication.openai.requests import ChatRequest, read
from publication.openai.serializers import (
    ChatCompletionInputSerializer,
    ChatCompletionSerializer,
    CompletionEventSerializer,
    ModelListSerializer,
    OpenAIErrorSerializer,
)
from publication.views.published import IDEMPOTENCY_KEY, PublishedViewSet

TAG = ["published, OpenAI"]
A_CHAT = OpenApiExample(
    "A question",
    request_only=True,
    value={"model": "default", "messages": [{"role": "user", "content": "Hello!"}]},
)
A_STREAM = OpenApiExample(
    "A stream",
    response_only=True,
    media_type=EVENT_STREAM,
    value='data: {"id":"chatcmpl-01K","object":"chat.completion.chunk","created":1764000000,'
    '"model":"claude-v4.5-sonnet","choices":[{"index":0,"delta":{"content":"Hello"},"logprobs":null,'
    '"finish_reason":null}]}\n\ndata: [DONE]\n\n',
)


def _errors(*statuses: int) -> dict[tuple[int, str], OpenApiResponse]:
    reasons = {
        400: "The request is not valid, or asks for what is not offered here; `param` names the field.",
        403: "No key, or one that does not open this API.",
        404: "The bot has no such model, or is gone.",
        405: "The method is not for this route.",
        409: "The bot's guardrail is not there yet, or the first request with the `Idempotency-Key` still runs.",
        413: "The body is larger than MAX_BODY_MB.",
        415: "The body is not JSON, or it is compressed.",
        422: "The `Idempotency-Key` belongs to an earlier request with another body.",
        429: "The throttle or the quota has no room; try again after `Retry-After` seconds.",
        500: "A fault of the server; it was recorded.",
        502: "The model failed, or the server may not use it.",
        503: "Bedrock is throttling or the server is full; try again after `Retry-After` seconds.",
        504: "The model took too long.",
    }
    return {
        (status, JSON): OpenApiResponse(response=OpenAIErrorSerializer, description=reasons[status])
        for status in statuses
    }


class OpenAIViewSet(PublishedViewSet):
    """The key comes as OpenAI's clients send it, or as everywhere else."""

    authentication_classes = (BearerKeyAuthentication, ApiKeyAuthentication)


class ChatCompletionsViewSet(OpenAIViewSet):
    route = Route.CHAT_COMPLETIONS

    @extend_schema(
        operation_id="openai_post_chat_completions",
        summary="Chat completion, as OpenAI's API has it",
        description="The history is the request's alone, and nothing is stored unless the owner has set "
        "`storeOpenAI`. With `stream` the answer comes as it is written: `data: {chunk}`, at last `data: [DONE]`; an "
        "error in mid-stream is an object with `error`.",
        tags=TAG,
        parameters=[IDEMPOTENCY_KEY],
        request=ChatCompletionInputSerializer,
        examples=[A_CHAT, A_STREAM],
        responses={
            (200, JSON): ChatCompletionSerializer,
            (200, EVENT_STREAM): CompletionEventSerializer,
            **_errors(400, 403, 404, 405, 409, 413, 415, 422, 429, 500, 502, 503, 504),
        },
    )
    def create(self, request: Request, bot_id: str, stage: str) -> HttpResponseBase:
        keyed = None if self.keyed is None else (self.keyed, claiming.digest_of(request.data))
        if keyed is not None and self.earlier is not None:
            return _answered_before(self.earlier.replay(keyed[1]), read(request.data))
        chat = read(request.data)
        known = authentication.find(request._request)
        running = answering.begin(chat, known, listener=Log() if chat.stream else None, keyed=keyed)
        if (notify := request.META.get(HANG_UP)) is not None:
            notify(running.stop)
        try:
            return streaming.respond(chat, running) if chat.stream else Response(answering.drain(chat, running))
        except (ServiceUnavailable, TooManyRequests, EncryptionError):
            if not running.calls:  # else a model was asked, and this is how the call ended
                self.give_back()
            raise
        except Repeated as repeated:
            self.give_back()
            return _answered_before(repeated.earlier.replay("" if keyed is None else keyed[1]), chat)


def _answered_before(kept: str, chat: ChatRequest) -> HttpResponseBase:
    """The answer that was kept for an idempotency key, in the way in which the same request wants it again."""
    completion = orjson.loads(kept)
    if chat.stream:
        return streaming.respond_again(completion, include_usage=chat.include_usage)
    return Response(completion)


class ModelsViewSet(OpenAIViewSet):
    @extend_schema(
        operation_id="openai_get_models",
        summary="The models of the bot, as OpenAI's API has them",
        description="The first is the one that answers where a request names none, or `default`.",
        tags=TAG,
        responses={(200, JSON): ModelListSerializer, **_errors(403, 404, 405, 429, 500)},
    )
    def retrieve(self, request: Request, bot_id: str, stage: str) -> Response:
        known = authentication.find(request._request)
        actor = caller_of(request)
        models = composing.models_of(chatting.get(bot_id, actor=actor), actor=actor)
        return Response(rendering.model_list(models, known.publication))
