"""What Converse is sent is, value by value, what botocore would write by its service model."""

from typing import Any

import botocore.session
import orjson
import pytest
from botocore.serialize import create_serializer

from bedrock_chat.bedrock import request_bodies
from tests.pictures import document_block, image_block, picture

MODEL_ID = "anthropic.claude-3-7-sonnet-20250219-v1:0"
PARAMETERS: dict[str, Any] = {
    "modelId": MODEL_ID,
    "system": [{"text": "Be kind. 語"}, {"cachePoint": {"type": "default"}}],
    "messages": [
        {"role": "user", "content": [{"text": "look"}, image_block(picture("png"), "png"), document_block("pdf")]},
        {
            "role": "assistant",
            "content": [
                {"reasoningContent": {"redactedContent": b"\0\xff"}},
                {"toolUse": {"toolUseId": "t", "name": "look", "input": {"n": 1.5, "deep": [None, True, {"é": "☕"}]}}},
            ],
        },
        {
            "role": "user",
            "content": [{"toolResult": {"toolUseId": "t", "content": [{"json": {"a": []}}], "status": "success"}}],
        },
    ],
    "inferenceConfig": {"maxTokens": 10, "temperature": 0.5, "stopSequences": ["x"]},
    "additionalModelRequestFields": {"top_k": 3},
}
BESIDE = [
    pytest.param({}, id="what orjson writes"),
    pytest.param({"additionalModelRequestFields": {"large": 2**70}}, id="an integer that orjson does not write"),
]


class Client:
    """As much of a client of boto3 as `install` looks at."""

    def __init__(self) -> None:
        self._serializer: Any = create_serializer("rest-json", include_validation=False)


@pytest.mark.parametrize("beside", BESIDE)
@pytest.mark.parametrize("operation", ["Converse", "ConverseStream"])
def test_a_body_is_the_one_that_botocore_writes(operation: str, beside: dict[str, Any]) -> None:
    model = botocore.session.get_session().get_service_model("bedrock-runtime").operation_model(operation)
    ours, theirs = Client(), Client()
    request_bodies.install(ours)
    written = [client._serializer.serialize_to_request(PARAMETERS | beside, model) for client in (ours, theirs)]
    bodies = [request.pop("body") for request in written]
    assert bodies[0] != bodies[1] or beside, "the body was written by botocore: the installation does nothing"
    assert orjson.loads(bodies[0]) == orjson.loads(bodies[1])
    assert written[0] == written[1]


def test_a_value_without_a_form_in_json_is_a_mistake_of_ours() -> None:
    model = botocore.session.get_session().get_service_model("bedrock-runtime").operation_model("Converse")
    client = Client()
    request_bodies.install(client)
    with pytest.raises(TypeError):
        client._serializer.serialize_to_request(PARAMETERS | {"additionalModelRequestFields": {"s": {1, 2}}}, model)
