"""A plain boto3 client that calls the emulator directly, without our own code in between."""

from typing import Any

import boto3
from botocore.config import Config

from tests.emulator import Emulator

SONNET = "anthropic.claude-3-7-sonnet-20250219-v1:0"
TOOLS = {"tools": [{"toolSpec": {"name": "weather", "inputSchema": {"json": {"type": "object"}}}}]}
THINKING = {"thinking": {"type": "enabled", "budget_tokens": 1024}}


def boto(emulator: Emulator, *, read_timeout: float = 5, check_parameters: bool = True) -> Any:
    return boto3.client(
        "bedrock-runtime",
        region_name="us-east-1",
        endpoint_url=emulator.url,
        aws_access_key_id="emulator",
        aws_secret_access_key="emulator",
        config=Config(
            retries={"total_max_attempts": 1},
            read_timeout=read_timeout,
            parameter_validation=check_parameters,
            max_pool_connections=50,
        ),
    )


def user(*content: Any) -> dict[str, Any]:
    return {"role": "user", "content": [{"text": block} if isinstance(block, str) else block for block in content]}


def assistant(*content: Any) -> dict[str, Any]:
    return {**user(*content), "role": "assistant"}


def converse(emulator: Emulator, *messages: Any, model: str = SONNET, **fields: Any) -> Any:
    """Converse's answer. A message that is a string is the user's."""
    return boto(emulator).converse(modelId=model, messages=_messages(messages), **fields)


def stream(emulator: Emulator, *messages: Any, model: str = SONNET, **fields: Any) -> list[dict[str, Any]]:
    """All events of ConverseStream's answer."""
    return list(boto(emulator).converse_stream(modelId=model, messages=_messages(messages), **fields)["stream"])


def text(answer: Any) -> str:
    """The text of an answer, whole or as events."""
    if isinstance(answer, list):
        deltas = (event["contentBlockDelta"]["delta"] for event in answer if "contentBlockDelta" in event)
        return "".join(delta.get("text", "") for delta in deltas)
    return "".join(block.get("text", "") for block in answer["output"]["message"]["content"])


def kinds(events: list[dict[str, Any]]) -> list[str]:
    return [name for event in events for name in event]


def _messages(messages: tuple[Any, ...]) -> list[dict[str, Any]]:
    return [user(message) if isinstance(message, str) else message for message in messages]
