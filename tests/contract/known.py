"""What the knowledge base of the recording holds."""

KNOWN = [
    {
        "content": {"type": "TEXT", "text": "Chunk one text"},
        "location": {"type": "S3", "s3Location": {"uri": "s3://doc-bucket/u/b/documents/guide.pdf"}},
        "metadata": {"x-amz-bedrock-kb-document-page-number": 3.0},
    },
    {
        "content": {"type": "TEXT", "text": "Chunk two text"},
        "location": {"type": "WEB", "webLocation": {"url": "https://example.com/page"}},
    },
]
