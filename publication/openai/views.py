"""The published API in OpenAI's language: what its clients call with a key, by the address `…/v1`."""

from django.http.response import HttpResponseBase
from drf_spectacular.utils import OpenApiExample, OpenApiResponse, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from bedrock_chat.identity.caller import caller_of
from bedrock_chat.wire.errors import ServiceUnavailable, TooManyRequests
from bedrock_chat.wire.event_stream import EVENT_STREAM
from bedrock_chat.wire.renderers import JSON
from bedrock_chat.wire.requests import HANG_UP
from bots import chatting
from conversations.streaming.log import Log
from publication import authentication, limits
from publication.authentication import ApiKeyAuthentication, BearerKeyAuthentication
from publication.openai import answering, composing, rendering, streaming
from publication.openai.requests import read
from publication.openai.serializers import (
    ChatCompletionInputSerializer,
    ChatCompletionSerializer,
    CompletionEventSerializer,
    ModelListSerializer,
    OpenAIErrorSerializer,
)
from publication.views.published import PublishedViewSet

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
        409: "The bot's guardrail is not there yet.",
        413: "The body is larger than MAX_BODY_MB.",
        415: "The body is not JSON, or it is compressed.",
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
    @extend_schema(
        operation_id="openai_post_chat_completions",
        summary="Chat completion, as OpenAI's API has it",
        description="The history is the request's alone, and nothing is stored unless the owner has set "
        "`storeOpenAI`. With `stream` the answer comes as it is written: `data: {chunk}`, at last `data: [DONE]`; an "
        "error in mid-stream is an object with `error`.",
        tags=TAG,
        request=ChatCompletionInputSerializer,
        examples=[A_CHAT, A_STREAM],
        responses={
            (200, JSON): ChatCompletionSerializer,
            (200, EVENT_STREAM): CompletionEventSerializer,
            **_errors(400, 403, 404, 405, 409, 413, 415, 429, 500, 502, 503, 504),
        },
    )
    def create(self, request: Request, bot_id: str, stage: str) -> HttpResponseBase:
        chat = read(request.data)
        found = authentication.find(request._request)
        running = answering.begin(chat, found, listener=Log() if chat.stream else None)
        if (notify := request.META.get(HANG_UP)) is not None:
            notify(running.stop)
        try:
            return streaming.respond(chat, running) if chat.stream else Response(answering.drain(chat, running))
        except (ServiceUnavailable, TooManyRequests):
            if not running.calls and self.admitted is not None:
                limits.give_back(*self.admitted)
            raise


class ModelsViewSet(OpenAIViewSet):
    @extend_schema(
        operation_id="openai_get_models",
        summary="The models of the bot, as OpenAI's API has them",
        description="The first is the one that answers where a request names none, or `default`.",
        tags=TAG,
        responses={(200, JSON): ModelListSerializer, **_errors(403, 404, 405, 429, 500)},
    )
    def retrieve(self, request: Request, bot_id: str, stage: str) -> Response:
        found = authentication.find(request._request)
        bot = chatting.get(bot_id, actor=caller_of(request))
        return Response(rendering.model_list(composing.models_of(bot), found.publication))
