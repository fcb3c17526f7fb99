"""The floor: a loop of boto3's own `converse` with the default client, in a process of its own.

Reads lines `REQUESTS MESSAGES` and answers each with the CPU seconds and the wall seconds that the requests took.
"""

import sys
import time
from typing import Any

import boto3


def payload(messages: int) -> list[dict[str, Any]]:
    """What the server sends for such a conversation: short texts, and cache points in the last two questions."""
    conversation: list[dict[str, Any]] = [
        {"role": ("user", "assistant")[index % 2], "content": [{"text": f"message {index}"}]}
        for index in range(messages - 1)
    ]
    conversation.append({"role": "user", "content": [{"text": "message"}]})
    for question in conversation[-1:-4:-2]:
        question["content"].append({"cachePoint": {"type": "default"}})
    return conversation


def main() -> None:
    client = boto3.client(
        "bedrock-runtime", "us-east-1", endpoint_url=sys.argv[1], aws_access_key_id="x", aws_secret_access_key="x"
    )
    arguments: dict[str, Any] = {
        "modelId": "us.anthropic.claude-3-7-sonnet-20250219-v1:0",
        "system": [],
        "inferenceConfig": {"maxTokens": 4096, "temperature": 1.0, "topP": 0.999, "stopSequences": []},
        "additionalModelRequestFields": {"top_k": 250},
    }
    print("raw", flush=True)
    for line in sys.stdin:
        requests, messages = map(int, line.split())
        conversation = payload(messages)
        cpu, wall = time.process_time(), time.perf_counter()
        for _ in range(requests):
            client.converse(messages=conversation, **arguments)
        print(time.process_time() - cpu, time.perf_counter() - wall, flush=True)


main()
