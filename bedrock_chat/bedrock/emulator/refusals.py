"""Bedrock's faults: the name, the HTTP status and a sentence of each."""

# The statuses come from botocore's service model. The sentences are Bedrock's own where they are known.
FAULTS: dict[str, tuple[int, str]] = {
    "AccessDeniedException": (403, "You don't have access to the model with the specified model ID."),
    "BadGatewayException": (502, "There was an issue with a dependency due to a server issue. Retry your request."),
    "ConflictException": (400, "Error occurred because of a conflict while performing an operation."),
    "DependencyFailedException": (424, "There was an issue with a dependency. Check the resource configurations."),
    "ExpiredTokenException": (403, "The security token included in the request is expired"),
    "InternalServerException": (
        500,
        "The system encountered an unexpected error during processing. Try your request again.",
    ),
    "ModelErrorException": (
        424,
        "The model encountered an unexpected error during processing. Try your request again.",
    ),
    "ModelNotReadyException": (429, "Model is not ready for inference. Wait and try your request again."),
    "ModelStreamErrorException": (424, "boom in stream"),
    "ModelTimeoutException": (408, "Model has timed out in processing the request. Try your request again."),
    "ResourceNotFoundException": (404, "Could not resolve the foundation model from the provided model identifier."),
    "SerializationException": (400, "The request could not be read as JSON."),
    "ServiceQuotaExceededException": (400, "Your request exceeds the service quota for your account."),
    "ServiceUnavailableException": (503, "Too many connections, please wait before trying again."),
    "ThrottlingException": (429, "Too many requests, please wait before trying again."),
    "UnknownOperationException": (404, "There is no such operation."),
    "UnrecognizedClientException": (403, "The security token included in the request is invalid."),
    "ValidationException": (400, "The model returned the following errors: bad input"),
    "overloaded_error": (529, "Overloaded"),
}
RETRY_AFTER: dict[str, int] = {"overloaded_error": 1}
"""Faults that come with `Retry-After`, in seconds."""


class Refusal(Exception):
    """Bedrock refuses a request before it sends any answer. `code` is a name in FAULTS.

    `in_stream`: where a stream is asked for, it begins with status 200, and its first event is the fault.
    """

    def __init__(self, code: str, message: str | None = None, *, in_stream: bool = False) -> None:
        self.code = code
        self.in_stream = in_stream
        self.status, default_message = FAULTS[code]
        self.message = message or default_message
        super().__init__(f"{code}: {self.message}")


def invalid(message: str, *, in_stream: bool = False) -> Refusal:
    return Refusal("ValidationException", message, in_stream=in_stream)


def refused_by_model(message: str, *, in_stream: bool = False) -> Refusal:
    """A refusal by the model itself, in the words with which Bedrock passes it on."""
    return invalid(f"The model returned the following errors: {message}", in_stream=in_stream)


def in_camel(code: str) -> str:
    """The name of a fault as an event stream spells it: `throttlingException`."""
    return code[0].lower() + code[1:]
