"""An image is what its bytes say, whatever it is called."""

import contextlib
import io
import struct
import zlib

import pytest
from PIL import Image

from bedrock_chat.bedrock import images
from tests.pictures import phone_picture, picture


@pytest.mark.parametrize("form", images.FORMATS)
def test_every_format_is_known_by_its_bytes(form: str) -> None:
    header = images.read_header(picture(form, (40, 30)))
    assert (header.form, header.width, header.height, header.longest_side) == (form, 40, 30, 40)


def test_a_multi_picture_jpeg_is_a_jpeg() -> None:
    body = phone_picture()
    with Image.open(io.BytesIO(body)) as opened:
        assert opened.format == "MPO"  # what Pillow calls it
    assert images.read_header(body) == images.Header("jpeg", 8, 6)


def test_so_it_is_where_the_list_of_its_pictures_is_damaged() -> None:
    body = bytearray(phone_picture())
    place = body.index(b"MPF\0")
    body[place + 4 : place + 12] = b"\xff" * 8
    assert images.read_header(bytes(body)).form == "jpeg"


def test_animations_are_their_formats() -> None:
    frames = [Image.new("L", (8, 8), shade) for shade in (0, 255)]
    for form in ("gif", "webp", "png"):
        file = io.BytesIO()
        frames[0].save(file, form, save_all=True, append_images=frames[1:])
        assert images.read_header(file.getvalue()).form == form


def test_an_image_too_large_to_be_decoded_still_has_a_header() -> None:
    body = picture("png", (2, 2))
    header = b"IHDR" + struct.pack("!II", 60_000, 6_000) + body[24:29]  # a bomb to whoever decodes it
    bomb = body[:12] + header + struct.pack("!I", zlib.crc32(header)) + body[33:]
    assert images.read_header(bomb).longest_side == 60_000


@pytest.mark.parametrize("form", ["bmp", "tiff", "ico", "ppm", "jpeg2000", "avif"])
def test_no_other_format_is_one(form: str) -> None:
    try:
        body = picture(form, (40, 40))
    except (KeyError, OSError):
        pytest.skip(f"this Pillow writes no {form}")
    with pytest.raises(images.NotAnImage):
        images.read_header(body)


@pytest.mark.parametrize("body", [b"", b"<svg/>", b"RIFF\0\0\0\0WAVE", b"\0\0\0\x18ftypheic", b"%PDF-1.7"])
def test_neither_is_anything_else(body: bytes) -> None:
    with pytest.raises(images.NotAnImage):
        images.read_header(body)


@pytest.mark.parametrize("form", images.FORMATS)
def test_a_damaged_image_is_none_or_has_a_header_and_nothing_else_happens(form: str) -> None:
    whole = picture(form, (40, 30))
    for length in range(min(len(whole), 120)):
        for body in (whole[:length], whole[:length] + b"\xff" * 8 + whole[length + 8 :]):
            with contextlib.suppress(images.NotAnImage):
                assert images.read_header(body).form == form
