"""Identifiers: a prefix that names the kind, then 26 characters that sort by time of making.

The 26 characters are Crockford's base 32 of 48 bits of milliseconds and 80 random bits, as in
the ULID specification, in lower case. Those that one process makes always ascend.
"""

from __future__ import annotations

import secrets
import threading
import time

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_lock = threading.Lock()
_last = 0


def new_id(prefix: str) -> str:
    """Make an id like `turn_01k9...`: unique across machines, greater than those made before it here."""
    global _last
    with _lock:
        # Within a millisecond, and when the clock was set back, the next one follows the last.
        made = (time.time_ns() // 1_000_000) << 80 | secrets.randbits(80)
        number = _last = made if made > _last else _last + 1 + secrets.randbits(32)
    return spell_id(prefix, number)


def spell_id(prefix: str, number: int) -> str:
    """The id of a number of 130 bits."""
    return f"{prefix}_" + "".join(_ALPHABET[number >> shift & 31] for shift in range(125, -1, -5))
