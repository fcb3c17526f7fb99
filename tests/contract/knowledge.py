"""What the recording's knowledge base and agent were."""

from typing import Any

REAL_IDS = {"A1": "A1A1A1A1A1", "AL1": "AL1AL1AL1A", "KB1": "KB1KB1KB1K"}
"""Ids of an agent, its alias and a knowledge base as Bedrock gives them. The recorded ones are too short to be any."""

PASSAGES: list[dict[str, Any]] = [
    {
        "content": {"text": "Chunk one text", "type": "TEXT"},
        "location": {"type": "S3", "s3Location": {"uri": "s3://doc-bucket/u/b/documents/guide.pdf"}},
        "metadata": {"x-amz-bedrock-kb-document-page-number": 3},
        "score": 0.9,
    },
    {
        "content": {"text": "Chunk two text", "type": "TEXT"},
        "location": {"type": "WEB", "webLocation": {"url": "https://example.com/page"}},
        "score": 0.8,
    },
]
"""What the recorded knowledge base held."""
