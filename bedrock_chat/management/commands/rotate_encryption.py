"""`manage.py rotate_encryption`: the earlier name of `rotate_encryption_key`."""

from bedrock_chat.management.commands.rotate_encryption_key import Command

__all__ = ["Command"]
