"""The kernel's models, gathered from its parts."""

from bedrock_chat.blobs import Blob, BlobReference
from bedrock_chat.identity.models import SigningKey, User
from bedrock_chat.jobs.models import Job, Worker

__all__ = ["Blob", "BlobReference", "Job", "SigningKey", "User", "Worker"]
