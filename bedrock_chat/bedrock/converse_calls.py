"""Converse and ConverseStream, past what botocore works out anew for every call.

For each call botocore looks for the endpoint, emits a dozen events, walks through its model of the service to write the
request and to read the answer, and makes objects of all headers. For two operations whose JSON has the names that
Python has, all that changes nothing. So:

    once a model   botocore makes a request that is not sent; it is the pattern of the others (`signatures`)
    every call     the body by orjson, the pattern's headers signed anew, sent by botocore's own HTTP session
    the answer     a good one is JSON; any other is read by botocore's parser, and raises what boto3 raises

Where a request has something that is not understood here, botocore makes all of the call.
"""

import io
import json
import threading
import time
from typing import Any, Final

from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.compat import HTTPHeaders
from botocore.endpoint import convert_to_response_dict
from botocore.parsers import create_parser

from bedrock_chat.bedrock import request_bodies
from bedrock_chat.bedrock.signatures import Pattern
from bedrock_chat.wire.ids import new_uuid

TIMESTAMP: Final = "%Y%m%dT%H%M%SZ"
SUCCESS: Final = 200
FIRST_ERROR: Final = 300  # the lowest status for which boto3 raises


class ConverseCalls:
    """What a boto3 client of the Bedrock Runtime does in these two operations."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self._http_session: Any = client._endpoint.http_session
        self._patterns: dict[tuple[str, str], Pattern | None] = {}
        self._of_thread = threading.local()
        client.meta.events.register("before-send.bedrock-runtime", self._keep_sample)

    def converse(self, model_id: str, body: dict[str, Any]) -> dict[str, Any]:
        """A whole answer. It is as Bedrock wrote it: bytes are base64 text. One that is no JSON object is empty.

        Raises what boto3 raises.
        """
        response = self._send("Converse", model_id, body)
        if response is None:
            answer: dict[str, Any] = self._client.converse(modelId=model_id, **body)
            return answer
        if response.status_code != SUCCESS:
            return self._read_by_botocore(response, "Converse")
        try:
            answer = json.loads(response.content)
        except ValueError:
            return {}
        return answer if isinstance(answer, dict) else {}

    def converse_stream(self, model_id: str, body: dict[str, Any]) -> Any:
        """An answer that comes piece by piece: its body, as urllib3 has it. Raises what boto3 raises.

        Where botocore makes the call, it is its stream of events, which has the body within.
        """
        response = self._send("ConverseStream", model_id, body)
        if response is None:
            return self._client.converse_stream(modelId=model_id, **body)["stream"]
        if response.status_code == SUCCESS:
            return response.raw
        return self._read_by_botocore(response, "ConverseStream")["stream"]

    def _send(self, operation: str, model_id: str, body: dict[str, Any]) -> Any:
        """The response to a request, or None if botocore has to make it. Raises what boto3 raises."""
        key = operation, model_id
        pattern = self._patterns[key] if key in self._patterns else self._learn(operation, model_id)
        payload = request_bodies.written(body) if pattern else None
        if pattern is None or payload is None:
            return None
        credentials = self._client._get_credentials().get_frozen_credentials()
        at = time.strftime(TIMESTAMP, time.gmtime())
        headers: Any = pattern.signed_headers(payload, credentials, at, new_uuid())
        streams = operation == "ConverseStream"
        return self._http_session.send(AWSPreparedRequest("POST", pattern.url, headers, payload, streams))

    # ---- Patterns --------------------------------------------------------------------------------------------------

    def _learn(self, operation: str, model_id: str) -> Pattern | None:
        """Has botocore make a request, which is not sent, and keeps its pattern. Models are few."""
        samples: list[Any] = []
        self._of_thread.samples = samples
        try:
            send = self._client.converse if operation == "Converse" else self._client.converse_stream
            send(modelId=model_id, messages=[])
        finally:
            del self._of_thread.samples
        pattern = Pattern.of(samples[0], self._client._get_credentials())
        self._patterns[operation, model_id] = pattern
        return pattern

    def _keep_sample(self, request: Any, **_: Any) -> AWSResponse | None:
        """Answers a request of `_learn` in place of the network. Every other request is sent."""
        samples = getattr(self._of_thread, "samples", None)
        if samples is None:
            return None
        samples.append(request)
        return AWSResponse(request.url, SUCCESS, HTTPHeaders(), _Empty())

    def _read_by_botocore(self, response: Any, operation: str) -> dict[str, Any]:
        """What boto3 returns for a response, or raises."""
        model = self._client.meta.service_model.operation_model(operation)
        parser = create_parser(model.service_model.resolved_protocol)
        answer: dict[str, Any] = parser.parse(convert_to_response_dict(response, model), model.output_shape)
        if response.status_code >= FIRST_ERROR:
            code = answer.get("Error", {}).get("Code")
            raise self._client.exceptions.from_code(code)(answer, operation)
        return answer


class _Empty(io.BytesIO):
    """A body of no bytes, as urllib3 has it."""

    def stream(self) -> Any:
        return iter(())
