"""The kernel's models, gathered from its parts."""

from bedrock_chat.blobs import Blob, BlobReference
from bedrock_chat.identity.models import SigningKey, User

__all__ = ["Blob", "BlobReference", "SigningKey", "User"]
