"""Bedrock's faults as errors of the API: each with Bedrock's own name, a status, and a sentence that helps.

Statuses: throttled, not ready, unavailable, unreachable 503 with `Retry-After`; a model that failed, or that this
server may not use, 502; silence 504; a request that Bedrock calls invalid 400. 429 means our own limits alone.
"""

import re
from http import HTTPStatus
from typing import Any, ClassVar

from bedrock_chat.wire.errors import ApiError, BadGateway, BadRequest, GatewayTimeout, ServiceUnavailable


class ModelFault(ApiError):
    """A call to a model that failed. `code` is Bedrock's name of the fault, in UpperCamelCase.

    `retried`: the refusal passes by itself, so the runtime asks again before an answer has begun. `for_operators`:
    nobody who chats can mend it.
    """

    code: str = "ModelFault"
    retried: ClassVar[bool] = False
    for_operators: ClassVar[bool] = False
    retry_after: float | None = None

    def __init__(self, detail: str | None = None, *, code: str | None = None, **options: Any) -> None:
        super().__init__(detail, **options)
        if code:
            self.code = code


class _Unavailable(ModelFault, ServiceUnavailable):
    """Nothing was generated and asking again is safe. `retry_after` is in seconds; Bedrock's own word goes first."""

    retried = True

    def __init__(self, detail: str | None = None, *, retry_after: float | None = None, **options: Any) -> None:
        self.retry_after = retry_after
        super().__init__(detail, retry_after=10 if retry_after is None else retry_after, **options)


class Throttled(_Unavailable):
    code = "ThrottlingException"
    default_detail = "Bedrock is throttling this model: the account's quota is used up for now. Try again in a moment."


class NotReady(_Unavailable):
    code = "ModelNotReadyException"
    default_detail = "The model is being made ready. Try again in a moment."


class Unavailable(_Unavailable):
    code = "ServiceUnavailableException"
    default_detail = "Bedrock has no capacity for this model right now. Try again in a moment, or choose another model."


class Unreachable(_Unavailable):
    """503 and not 502: the question never arrived, so a client may simply send it again."""

    code = "EndpointConnectionError"
    retried = False  # nobody answers at all: better said at once than after `MODEL_RETRY_SECONDS` of silence
    for_operators = True
    default_detail = "Bedrock cannot be reached. If this lasts, tell your administrator."


class ModelError(ModelFault, BadGateway):
    code = "ModelErrorException"
    default_detail = "The model failed while answering. Try again."


class StreamError(ModelFault, BadGateway):
    code = "ModelStreamErrorException"
    default_detail = "The model failed in the middle of its answer. Try again."


class InternalFault(ModelFault, BadGateway):
    code = "InternalServerException"
    default_detail = "Bedrock had an internal fault. Try again."


class ConnectionCut(ModelFault, BadGateway):
    code = "ConnectionCut"
    default_detail = "The connection to the model broke before the answer was complete. Try again."


class Incomplete(ModelFault, BadGateway):
    code = "MissingMessageStop"
    default_detail = "The model's answer ended without being complete. Try again."


class Unreadable(ModelFault, BadGateway):
    code = "UnreadableResponse"
    default_detail = "What came back from the model cannot be read. Try again."


class MalformedToolUse(ModelFault, BadGateway):
    code = "MalformedToolUse"
    default_detail = "The model asked for a tool in a way that cannot be read. Try again."


class AccessDenied(ModelFault, BadGateway):
    code = "AccessDeniedException"
    for_operators = True
    default_detail = "This server has no access to the model. Choose another one, or tell your administrator."


class UnknownModel(ModelFault, BadGateway):
    code = "ResourceNotFoundException"
    for_operators = True
    default_detail = "Bedrock does not know this model in this region. Choose another one, or tell your administrator."


class NoCredentials(ModelFault, BadGateway):
    code = "NoCredentials"
    for_operators = True
    default_detail = "This server has no valid AWS credentials. Tell your administrator."


class QuotaExceeded(ModelFault, BadGateway):
    code = "ServiceQuotaExceededException"
    for_operators = True
    default_detail = "A quota of the AWS account is used up. Tell your administrator."


class TimedOut(ModelFault, GatewayTimeout):
    code = "ModelTimeoutException"
    default_detail = "The model took too long to answer. Try again, or ask for less."


class Invalid(ModelFault, BadRequest):
    code = "ValidationException"
    default_detail = "Bedrock refused the request as invalid."


class TooLong(ModelFault, BadRequest):
    """More than the model's context window holds; Bedrock has no name of its own for it."""

    code = "ValidationException"
    default_detail = "The conversation is too long for the model."


class TooLarge(ModelFault, BadRequest):
    code = "RequestEntityTooLarge"
    default_detail = "The conversation is larger than Bedrock takes. Leave out attachments, or begin a new one."


BY_CODE: dict[str, type[ModelFault]] = {
    fault.code: fault
    for fault in (
        Throttled,
        NotReady,
        Unavailable,
        ModelError,
        StreamError,
        InternalFault,
        AccessDenied,
        UnknownModel,
        QuotaExceeded,
        TimedOut,
        Invalid,
    )
} | {
    # What AWS's front door says of a signature, whatever the service behind it.
    "ExpiredToken": NoCredentials,
    "ExpiredTokenException": NoCredentials,
    "IncompleteSignature": NoCredentials,
    "IncompleteSignatureException": NoCredentials,
    "InvalidClientTokenId": NoCredentials,
    "InvalidSignatureException": NoCredentials,
    "MissingAuthenticationToken": NoCredentials,
    "MissingAuthenticationTokenException": NoCredentials,
    "RequestExpired": NoCredentials,
    "SignatureDoesNotMatch": NoCredentials,
    "UnrecognizedClientException": NoCredentials,
    "TooManyRequestsException": Throttled,
}

BY_STATUS: dict[int, type[ModelFault]] = {
    HTTPStatus.UNAUTHORIZED: NoCredentials,
    HTTPStatus.FORBIDDEN: AccessDenied,
    HTTPStatus.NOT_FOUND: UnknownModel,
    HTTPStatus.REQUEST_TIMEOUT: TimedOut,
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: TooLarge,
    HTTPStatus.TOO_MANY_REQUESTS: Throttled,
    HTTPStatus.INTERNAL_SERVER_ERROR: InternalFault,
    HTTPStatus.BAD_GATEWAY: InternalFault,
    HTTPStatus.SERVICE_UNAVAILABLE: Unavailable,
    HTTPStatus.GATEWAY_TIMEOUT: TimedOut,
}

UNKNOWN_MODEL_WORDS = ("model identifier is invalid", "on-demand throughput isn", "inference profile")
TOO_LONG_WORDS = (
    "input is too long",
    "prompt is too long",
    "exceed context limit",
    "too many input tokens",
    "too many tokens",
    "input tokens exceeded",
    "maximum context length",
    "too many total text bytes",
)
"""How models say that their window is full, in small letters: Anthropic's, Amazon's, Meta's, Mistral's."""
LONGEST_MESSAGE = 500
_ARN = re.compile(r"arn:[\w-]+:[^\s\"',;)]*")


def of(
    code: str,
    message: str,
    *,
    status: int = 0,
    retry_after: float | None = None,
    otherwise: type[ModelFault] = ModelError,
) -> ModelFault:
    """The fault of that name, as Bedrock spells it in a response (UpperCamel) or in a stream (lowerCamel).

    An unknown name goes by the HTTP status, and without one it is `otherwise`. Bedrock's own sentence is passed on for
    ValidationException alone: it speaks of what the client sent. Names of AWS resources are taken out of it.
    """
    code = (code[:1].upper() + code[1:])[:64]
    if code == Invalid.code:
        if any(words in message for words in UNKNOWN_MODEL_WORDS):
            return UnknownModel(code=code)
        if any(words in message.lower() for words in TOO_LONG_WORDS):
            return TooLong(f"The conversation is too long for the model. Bedrock says: {_passed_on(message)}")
        return Invalid(f"Bedrock refused the request: {_passed_on(message)}" if message.strip() else None)
    kind = BY_CODE.get(code) or BY_STATUS.get(status, otherwise)
    named = code if code and not code.isdigit() else None  # botocore puts the status where a response has no name
    if issubclass(kind, _Unavailable):
        return kind(code=named, retry_after=retry_after)
    return kind(code=named)


def _passed_on(message: str) -> str:
    """ARNs tell the account's number and how this server is set up."""
    sentence = _ARN.sub("(resource)", " ".join(message.split()))
    return sentence if len(sentence) <= LONGEST_MESSAGE else f"{sentence[: LONGEST_MESSAGE - 1]}…"
