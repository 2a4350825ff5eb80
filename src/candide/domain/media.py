"""What the first bytes of a file say that it is."""

from __future__ import annotations

_IMAGES = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
)


def find_image_type(data: bytes) -> str:
    """The media type of a PNG, JPEG, GIF or WebP image; empty for anything else."""
    for beginning, media_type in _IMAGES:
        if data.startswith(beginning):
            return media_type
    return "image/webp" if data[:4] == b"RIFF" and data[8:12] == b"WEBP" else ""


def is_text(data: bytes) -> bool:
    """Whether it is a text in UTF-8."""
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return b"\0" not in data
