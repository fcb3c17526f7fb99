"""What an image is: its true format and its size in pixels, by its bytes. Only the header is read."""

import functools
import io
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.ImageFile import ImageFile

FORMATS = ("gif", "jpeg", "png", "webp")
"""Converse's formats of images."""


class NotAnImage(ValueError):
    """The bytes are no image of one of the FORMATS, or its header is damaged."""


@dataclass(frozen=True, slots=True)
class Header:
    """The format is one of FORMATS, whatever the file is called. Width and height are in pixels."""

    form: str
    width: int
    height: int

    @property
    def longest_side(self) -> int:
        return max(self.width, self.height)


def read_header(body: bytes) -> Header:
    """Raises NotAnImage.

    The signature chooses the reader, and not Pillow's `open`: that calls a multi-picture JPEG, as phones write them,
    by another name than a JPEG, and warns of images that are too large to be decoded, which nobody does here.
    """
    form = _form(body)
    readers, damages = _pillow()
    try:
        with readers[form](io.BytesIO(body)) as image:
            return Header(form, *image.size)
    except damages:
        raise NotAnImage(f"The header of this {form} is damaged.") from None


def _form(body: bytes) -> str:
    if body.startswith(b"\x89PNG\r\n\x1a\n"):
        return "png"
    if body.startswith(b"\xff\xd8\xff"):
        return "jpeg"
    if body.startswith((b"GIF87a", b"GIF89a")):
        return "gif"
    if body.startswith(b"RIFF") and body[8:12] == b"WEBP":
        return "webp"
    raise NotAnImage("This is no image of a known format.")


@functools.cache
def _pillow() -> tuple[dict[str, type["ImageFile"]], tuple[type[Exception], ...]]:
    """Pillow's readers by format, and what they raise over a damaged header.

    They are imported with the first image: Pillow takes 3 MB.
    """
    from PIL.GifImagePlugin import GifImageFile  # noqa: PLC0415
    from PIL.Image import DecompressionBombError  # noqa: PLC0415
    from PIL.JpegImagePlugin import JpegImageFile  # noqa: PLC0415
    from PIL.PngImagePlugin import PngImageFile  # noqa: PLC0415
    from PIL.WebPImagePlugin import WebPImageFile  # noqa: PLC0415

    readers: dict[str, type[ImageFile]] = {
        "gif": GifImageFile,
        "jpeg": JpegImageFile,
        "png": PngImageFile,
        "webp": WebPImageFile,
    }
    damages = (
        OSError,
        EOFError,
        IndexError,
        KeyError,
        OverflowError,
        SyntaxError,
        TypeError,
        ValueError,
        struct.error,
        DecompressionBombError,  # of a GIF whose first frame is beyond all measure
    )
    return readers, damages
