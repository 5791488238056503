"""Makes covers: real JPEG pictures, different for each ISBN, cheap enough to make while somebody waits (a few ms)."""

import random
from functools import lru_cache

import pyvips

_TILE = 640

WIDTH = 300
"""Pixels of a cover: at most 500 of height (contracts/isbndb.md, section 10)."""


PIXEL = bytes.fromhex(
    "47494638396101000100800000ffffff00000021f90401000000002c00000000010001000002024401003b"
)
"""A GIF of one transparent pixel."""


@lru_cache(maxsize=1)
def _grain() -> pyvips.Image:
    """Noise that gives a picture the size of a scanned one; made once, cropped for each cover."""
    return pyvips.Image.gaussnoise(_TILE, _TILE, mean=0, sigma=11, seed=5).cast("short").copy_memory()


def picture(seed: str, width: int, height: int) -> pyvips.Image:
    """A picture of soft coloured fields under some grain: equal seeds look equal, others differ at every scale."""
    chance = random.Random(seed)
    fields = pyvips.Image.new_from_memory(chance.randbytes(5 * 7 * 3), 5, 7, 3, "uchar")
    # Smooth up to 75 x 105, then in blocks: half the time of an all-smooth one.
    plain = (
        fields.resize(15, kernel="linear").zoom(-(-width // 75), -(-height // 105)).crop(0, 0, width, height)
    )
    grain = _grain()
    if width > _TILE or height > _TILE:
        grain = grain.replicate(width // _TILE + 1, height // _TILE + 1)
    left, top = chance.randrange(grain.width - width + 1), chance.randrange(grain.height - height + 1)
    return (plain + grain.crop(left, top, width, height)).cast("uchar").copy(interpretation="srgb")


def cover(isbn: str, width: int = WIDTH) -> bytes:
    """The `image` of an ISBN: 300 wide and at most 500 high, or smaller in proportion."""
    chance = random.Random(f"size {isbn}")
    return jpeg(picture(isbn, width, chance.randint(400, 500) * width // WIDTH))


def thumbnail(key: str) -> bytes:
    """A picture as Google shows it: 128 wide (contracts/google-books.md, 3)."""
    return jpeg(picture(key, 128, random.Random(f"size {key}").randint(170, 200)))


def original(isbn: str) -> bytes:
    """The `image_original`: the same picture, larger."""
    return jpeg(picture(isbn, 1000, 1500))


@lru_cache(maxsize=1)
def _tiny() -> bytes:
    return jpeg(picture("tiny", 24, 36))


def tiny(isbn: str) -> bytes:
    """A real picture of 24 x 36 for any ISBN, made at no cost, to drive a hundred thousand: its bytes differ, its look does not."""
    return _with_note(_tiny(), isbn)


def placeholder(isbn: str | None) -> bytes:
    """The grey picture that stands for "no cover". With an ISBN its bytes differ and its look does not."""
    image = pyvips.Image.black(300, 450).linear(0, 214).cast("uchar")
    image = (
        image.draw_rect([180], 40, 60, 220, 330)
        .draw_rect([240], 90, 180, 120, 20)
        .draw_rect([240], 90, 220, 120, 20)
    )
    quality = 75 if isbn is None else 60 + random.Random(isbn).randrange(30)
    data = jpeg(image.copy(interpretation="b-w"), quality)
    if isbn is not None:
        data = _with_note(data, isbn)
    return data


def _with_note(data: bytes, text: str) -> bytes:
    """A JPEG with a comment behind its start marker: other bytes for every text, the same picture."""
    note = text.encode()
    return data[:2] + b"\xff\xfe" + (len(note) + 2).to_bytes(2, "big") + note + data[2:]


def jpeg(image: pyvips.Image, quality: int = 80) -> bytes:
    """A picture as a JPEG file."""
    return bytes(image.jpegsave_buffer(Q=quality))
