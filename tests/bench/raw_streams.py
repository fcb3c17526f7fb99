"""The floor: boto3's own `converse_stream`, iterated, with the default client, in a process of its own.

Reads lines `STREAMS THREADS`: it runs so many streams on so many threads, one after the other on each. It answers with
the CPU seconds and the wall seconds that they took, and the number of deltas that came.
"""

import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import boto3
from botocore.config import Config


def main() -> None:
    most_threads = int(sys.argv[2])
    client = boto3.client(
        "bedrock-runtime",
        "us-east-1",
        endpoint_url=sys.argv[1],
        aws_access_key_id="x",
        aws_secret_access_key="x",
        config=Config(max_pool_connections=most_threads),  # botocore keeps ten and makes others anew
    )
    arguments: dict[str, Any] = {
        "modelId": "us.anthropic.claude-3-7-sonnet-20250219-v1:0",
        "system": [],
        "messages": [{"role": "user", "content": [{"text": "message"}, {"cachePoint": {"type": "default"}}]}],
        "inferenceConfig": {"maxTokens": 4096, "temperature": 1.0, "topP": 0.999, "stopSequences": []},
        "additionalModelRequestFields": {"top_k": 250},
    }

    def iterate(_: int) -> int:
        events = client.converse_stream(**arguments)["stream"]
        return len([event["contentBlockDelta"]["delta"]["text"] for event in events if "contentBlockDelta" in event])

    print("raw", flush=True)
    for line in sys.stdin:
        streams, threads = map(int, line.split())
        with ThreadPoolExecutor(threads) as pool:
            cpu, wall = time.process_time(), time.perf_counter()
            deltas = sum(pool.map(iterate, range(streams)))
            print(time.process_time() - cpu, time.perf_counter() - wall, deltas, flush=True)


main()
