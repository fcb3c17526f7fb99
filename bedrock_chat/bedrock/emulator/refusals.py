"""Bedrock's faults: the name, the HTTP status and a sentence of each."""

# The statuses come from botocore's service model. The sentences are Bedrock's own where they are known.
FAULTS: dict[str, tuple[int, str]] = {
    "AccessDeniedException": (403, "You don't have access to the model with the specified model ID."),
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
}


class Refusal(Exception):
    """Bedrock refuses a request before it sends any answer. `code` is a name in FAULTS."""

    def __init__(self, code: str, message: str | None = None) -> None:
        self.code = code
        self.status, default_message = FAULTS[code]
        self.message = message or default_message
        super().__init__(f"{code}: {self.message}")


def invalid(message: str) -> Refusal:
    return Refusal("ValidationException", message)


def refused_by_model(message: str) -> Refusal:
    """A refusal by the model itself, in the words with which Bedrock passes it on."""
    return invalid(f"The model returned the following errors: {message}")


def in_camel(code: str) -> str:
    """The name of a fault as an event stream spells it: `throttlingException`."""
    return code[0].lower() + code[1:]
