"""Bedrock's faults as errors of the API. Each has Bedrock's own name, a status, and a sentence that helps the user.

Statuses: 503 with `Retry-After` for a model that is throttled, not ready, unavailable or unreachable; 502 for a model
that failed or that this server may not use; 504 for a model that sent nothing in time; 400 for a request that Bedrock
calls invalid. 429 is never used here: it stands for this server's own limits.
"""

import re
from http import HTTPStatus
from typing import Any, ClassVar

from bedrock_chat.wire.errors import ApiError, BadGateway, BadRequest, GatewayTimeout, ServiceUnavailable


class ModelFault(ApiError):
    """A call to a model that failed. `code` is Bedrock's name of the fault, in UpperCamelCase.

    `retried`: the cause passes by itself, so the runtime calls again, unless an answer has begun. `for_operators`:
    only an operator can remove the cause, so it is logged as an error.
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
    """Nothing was generated, so it is safe to call again.

    `retry_after` is in seconds, as Bedrock sent it; without one the client is told to wait 10 s.
    """

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
    """The status is 503 and not 502: the request never arrived, so a client may simply send it again."""

    code = "EndpointConnectionError"
    retried = False  # nothing listens there: tell the user now, not after `MODEL_RETRY_SECONDS` of waiting
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
    """The request exceeds the model's context window. Bedrock has no name of its own for this fault."""

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
    # Errors of every AWS service, not only of Bedrock: bad credentials and signatures, and too many requests.
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
"""Phrases, in lower case, by which Anthropic's, Amazon's, Meta's and Mistral's models report a full context window."""
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
    """The fault named `code`, spelled as in a response of Bedrock (UpperCamel) or as in a stream (lowerCamel).

    For an unknown name the HTTP `status` decides; for an unknown status the fault is `otherwise`. Only for
    ValidationException does the client read Bedrock's own sentence, because it is about what the client sent. Names of
    AWS resources are removed from it.
    """
    code = (code[:1].upper() + code[1:])[:64]
    if code == Invalid.code:
        if any(words in message for words in UNKNOWN_MODEL_WORDS):
            return UnknownModel(code=code)
        if any(words in message.lower() for words in TOO_LONG_WORDS):
            return TooLong(f"The conversation is too long for the model. Bedrock says: {_for_clients(message)}")
        return Invalid(f"Bedrock refused the request: {_for_clients(message)}" if message.strip() else None)
    kind = BY_CODE.get(code) or BY_STATUS.get(status, otherwise)
    named = code if code and not code.isdigit() else None  # botocore puts the status here if a response has no name
    if issubclass(kind, _Unavailable):
        return kind(code=named, retry_after=retry_after)
    return kind(code=named)


def _for_clients(message: str) -> str:
    """Bedrock's sentence without ARNs, which reveal the account's number and this server's setup, and shortened."""
    sentence = _ARN.sub("(resource)", " ".join(message.split()))
    return sentence if len(sentence) <= LONGEST_MESSAGE else f"{sentence[: LONGEST_MESSAGE - 1]}…"
