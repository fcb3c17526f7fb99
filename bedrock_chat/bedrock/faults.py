"""Bedrock's faults as errors of the API. Each has Bedrock's own name, a status, and a sentence that helps the user.

Statuses: 503 with `Retry-After` for a model that is throttled, not ready, unavailable or unreachable; 502 for a model
that failed or that this server may not use; 504 for a model that sent nothing in time; 400 for a request that Bedrock
calls invalid. 429 is never used here: it stands for this server's own limits.

4xx is the client's doing alone. AWS dresses faults of the account and of the configuration as ValidationException too;
`OPERATORS_WORDS` tells them apart by their sentences.
"""

import re
from http import HTTPStatus
from typing import Any, ClassVar

from bedrock_chat.wire.errors import ApiError, BadGateway, BadRequest, GatewayTimeout, ServiceUnavailable


class ModelFault(ApiError):
    """A call to a model that failed. `code` is Bedrock's name of the fault, in UpperCamelCase.

    `retried`: the cause passes by itself, so the runtime calls again, unless an answer has begun. `for_operators`:
    only an operator can remove the cause, so it is logged as an error. `remedy` is what the log advises; it is empty if
    nothing more is known than the code.
    """

    code: str = "ModelFault"
    retried: ClassVar[bool] = False
    for_operators: ClassVar[bool] = False
    retry_after: float | None = None
    remedy: str = ""

    def __init__(
        self, detail: str | None = None, *, code: str | None = None, remedy: str | None = None, **options: Any
    ) -> None:
        super().__init__(detail, **options)
        if code:
            self.code = code
        if remedy:
            self.remedy = remedy


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


class GuardrailMissing(ModelFault, BadGateway):
    """Bedrock does not know the guardrail, or its version, that the answer shall be guarded with."""

    for_operators = True
    default_detail = "Bedrock does not have the guardrail of this bot."
    remedy = "The guardrail was deleted, or is in another region or account than BEDROCK_REGION and the credentials."

    @classmethod
    def named(cls, identifier: str, version: str, code: str) -> "GuardrailMissing":
        """The fault of a request with that guardrail. Of an ARN, which has the account's number, the name is told."""
        name = identifier.rpartition("/")[2]
        sentence = f"Bedrock does not have version {version} of the guardrail {name}, which guards this bot's answers."
        return cls(f"{sentence} Tell the bot's owner.", code=code, remedy=f"Guardrail {name}: {cls.remedy}")


class CachingRefused(AccessDenied):
    """Bedrock does not cache this model's prompts for this account. The runtime calls again without cache points."""

    remedy = "Prompts of this model are not cached for this account; they are sent without cache points from now on."


class AccountRestricted(ModelFault, BadGateway):
    """AWS does not serve the account, whatever the request."""

    code = "AccountRestricted"
    for_operators = True
    default_detail = (
        "AWS does not let this server's account use the model now. Choose another model, or tell your administrator."
    )


class Retired(ModelFault, BadGateway):
    """The model's vendor has ended it, or ends it and serves only accounts that still use it."""

    code = "ResourceNotFoundException"
    for_operators = True
    default_detail = "This model is not offered to this server's account any more. Choose another model."


class NoCredentials(ModelFault, BadGateway):
    code = "NoCredentials"
    for_operators = True
    default_detail = "This server has no valid AWS credentials. Tell your administrator."


class QuotaExceeded(ModelFault, BadGateway):
    code = "ServiceQuotaExceededException"
    for_operators = True
    default_detail = "A quota of the AWS account is used up. Tell your administrator."


class DailyQuotaExceeded(QuotaExceeded):
    """Bedrock calls it throttling, but no wait of seconds helps. The quota of a new account may be 0."""

    code = "ThrottlingException"
    default_detail = (
        "The AWS account has used up its tokens of this model for today. Choose another model, or try again tomorrow."
    )
    remedy = "The account's quota of tokens per day for this model is used up, or 0: see Service Quotas."


class TimedOut(ModelFault, GatewayTimeout):
    code = "ModelTimeoutException"
    default_detail = "The model took too long to answer. Try again, or ask for less."


class Invalid(ModelFault, BadRequest):
    code = "ValidationException"
    default_detail = "Bedrock refused the request as invalid."


class TooLong(ModelFault, BadRequest):
    """The request exceeds the model's context window. Bedrock has no name of its own for this fault.

    `may_be_too_large`: the model's words also stand for a request of too many bytes.
    """

    code = "ValidationException"
    default_detail = "The conversation is too long for the model."

    def __init__(self, detail: str | None = None, *, may_be_too_large: bool = False, **options: Any) -> None:
        super().__init__(detail, **options)
        self.may_be_too_large = may_be_too_large


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
    "NotAuthorized": AccessDenied,
    "RequestExpired": NoCredentials,
    "SignatureDoesNotMatch": NoCredentials,
    "UnrecognizedClientException": NoCredentials,
    "TooManyRequestsException": Throttled,
    "Overloaded_error": Unavailable,
}

OVERLOADED = 529  # not in HTTP's register: a transient lack of capacity, with `Retry-After`

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
    OVERLOADED: Unavailable,
}

_USE_A_PROFILE = (
    "The model is called through an inference profile only: see CROSS_REGION_INFERENCE, GLOBAL_INFERENCE and "
    "INFERENCE_PROFILE_ARNS."
)
OPERATORS_WORDS: tuple[tuple[str, type[ModelFault], str], ...] = (
    ("did not allow prompt caching", CachingRefused, CachingRefused.remedy),
    ("on-demand throughput", UnknownModel, _USE_A_PROFILE),
    ("inference profile", UnknownModel, _USE_A_PROFILE),
    ("model identifier is invalid", UnknownModel, "The model is not in this region, or its id is wrong."),
    ("marked by provider as legacy", Retired, "The model is legacy, and this account has not used it lately."),
    ("end of its life", Retired, "The model has reached its end of life."),
    ("use case details have not been submitted", AccountRestricted, "Fill out Anthropic's use case form for Bedrock."),
    ("channel program accounts", AccountRestricted, "The account's reseller must enable the model."),
    ("invalid_payment_instrument", AccountRestricted, "The account has no valid payment instrument."),
    ("aws marketplace", AccountRestricted, "The account's AWS Marketplace subscription of the model is not complete."),
    ("account is not authorized", AccountRestricted, "The account may not use the model, or not in this region."),
    ("is not available for this account", AccountRestricted, "The model is not open to the account."),
    ("operation not allowed", AccountRestricted, "The account is restricted or not verified: ask AWS support."),
    ("data retention mode", AccountRestricted, "The account's data retention is below what the model asks for."),
    ("guardrail identifier", GuardrailMissing, GuardrailMissing.remedy),
    ("bedrock:applyguardrail", AccessDenied, "The credentials need the permission bedrock:ApplyGuardrail."),
    ("have access to the model", AccessDenied, "Access to the model has not been granted to the account."),
    ("not authorized to perform", AccessDenied, "An IAM or service control policy forbids the call."),
)
"""Phrases, in lower case, by which AWS reports faults of the account or of the configuration: the first that fits
decides the fault and the remedy.

AWS sends the same sentence under several of the OPERATORS_CODES. What a model says itself, behind OF_THE_MODEL, is
about the request.
"""
OPERATORS_CODES = frozenset({"ValidationException", "AccessDeniedException", "ResourceNotFoundException"})
OF_THE_MODEL = "the model returned the following errors"
OF_THE_REQUEST = "failed to satisfy constraint"
"""AWS's refusal of a field, which it quotes: its words are then the client's."""
PER_DAY = "per day"
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
TOO_LONG_CODES = frozenset(
    {"ValidationException", "ModelErrorException", "ModelStreamErrorException", "InternalServerException"}
)
TOO_LONG_OR_TOO_LARGE = "input is too long for requested model"
"""Claude's phrase for a full context window, and for a request of too many bytes as well."""
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
    ValidationException, and for a prompt that is too long, does the client read Bedrock's own sentence, because it is
    about what the client sent. Names of AWS resources are removed from it.
    """
    code = (code[:1].upper() + code[1:])[:64]
    words = message.lower()
    if code in OPERATORS_CODES and OF_THE_MODEL not in words and OF_THE_REQUEST not in words:
        for phrase, fault, remedy in OPERATORS_WORDS:
            if phrase in words:
                return fault(code=code, remedy=remedy)
    if code in TOO_LONG_CODES and any(phrase in words for phrase in TOO_LONG_WORDS):
        return TooLong(
            f"The conversation is too long for the model. Bedrock says: {_for_clients(message)}",
            may_be_too_large=TOO_LONG_OR_TOO_LARGE in words,
        )
    if code == Invalid.code:
        return Invalid(f"Bedrock refused the request: {_for_clients(message)}" if message.strip() else None)
    kind = BY_CODE.get(code) or BY_STATUS.get(status, otherwise)
    if kind is Throttled and PER_DAY in words:
        return DailyQuotaExceeded(code=code)
    named = code if code and not code.isdigit() else None  # botocore puts the status here if a response has no name
    if issubclass(kind, _Unavailable):
        return kind(code=named, retry_after=retry_after)
    return kind(code=named)


def _for_clients(message: str) -> str:
    """Bedrock's sentence without ARNs, which reveal the account's number and this server's setup, and shortened."""
    sentence = _ARN.sub("(resource)", " ".join(message.split()))
    return sentence if len(sentence) <= LONGEST_MESSAGE else f"{sentence[: LONGEST_MESSAGE - 1]}…"
