"""Real image files, made by Pillow."""

import base64
import io
from typing import Any

from PIL import Image


def picture(form: str = "png", size: tuple[int, int] = (2, 2), *, weight: int = 0) -> bytes:
    """An image file. It is padded to `weight` bytes behind its end, where no reader looks."""
    file = io.BytesIO()
    Image.new("L", size).save(file, form)
    return file.getvalue().ljust(weight, b"\0")


def phone_picture() -> bytes:
    """A multi-picture JPEG, as phones write them under the name of an ordinary one."""
    file = io.BytesIO()
    Image.new("RGB", (8, 6)).save(file, "MPO", save_all=True, append_images=[Image.new("RGB", (4, 3))])
    return file.getvalue()


def b64(body: bytes) -> str:
    return base64.b64encode(body).decode()


def image_block(body: bytes | None = None, form: str = "png") -> dict[str, Any]:
    """Converse's block, as boto3 takes it."""
    return {"image": {"format": form, "source": {"bytes": body or picture(form)}}}


def document_block(form: str = "txt", body: bytes = b"some notes", name: str = "n") -> dict[str, Any]:
    """Converse's block, as boto3 takes it."""
    return {"document": {"format": form, "name": name, "source": {"bytes": body}}}
