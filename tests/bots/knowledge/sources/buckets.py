"""A bucket of moto's server, and what a process needs to call an S3."""

from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from moto.server import ThreadedMotoServer

from bedrock_chat.blobs import s3_folders

BUCKET = "handbooks"
KEYS = {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x", "AWS_REGION": "us-east-1"}


@pytest.fixture(scope="module")
def bucket() -> Iterator[Any]:
    """A client of moto's server, with a bucket. To make a client takes long."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    with pytest.MonkeyPatch.context() as environment:
        for name, value in {**KEYS, "AWS_ENDPOINT_URL_S3": "http://{}:{}".format(*server.get_host_and_port())}.items():
            environment.setenv(name, value)
        s3_folders.forget_client()
        client = boto3.client("s3", region_name="us-east-1")
        client.create_bucket(Bucket=BUCKET)
        yield client
    s3_folders.forget_client()
    server.stop()
