"""Identifiers: a prefix that names the kind, then 26 characters that sort by time of making.

The 26 characters are Crockford's base 32 of 48 bits of milliseconds and 80 random bits, as in
the ULID specification, in lower case.
"""

from __future__ import annotations

import secrets
import time

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"


def new_id(prefix: str) -> str:
    """Make an id like `turn_01k9...`; unique across machines, sorted by millisecond."""
    number = (time.time_ns() // 1_000_000) << 80 | secrets.randbits(80)
    return f"{prefix}_" + "".join(_ALPHABET[number >> shift & 31] for shift in range(125, -1, -5))
