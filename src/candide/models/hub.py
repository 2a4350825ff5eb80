"""The model hub that this machine is set to use."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Self

import msgspec

HUB = "https://huggingface.co"


class HubAccess(msgspec.Struct, frozen=True):
    """The model hub to ask, and the key to show it."""

    endpoint: str = HUB
    token: str | None = None
    offline: bool = False

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] = os.environ) -> Self:
        """As the hub's own client reads it: HF_ENDPOINT, HF_TOKEN or its token file, HF_HUB_OFFLINE."""
        token = environ.get("HF_TOKEN", "").strip()
        if not token:
            home = (
                environ.get("HF_HOME") or Path(environ.get("HOME") or "~").expanduser() / ".cache/huggingface"
            )
            path = Path(environ.get("HF_TOKEN_PATH") or Path(home) / "token")
            try:
                token = path.read_text(encoding="utf-8").strip()
            except (OSError, UnicodeDecodeError):
                token = ""
        return cls(
            endpoint=(environ.get("HF_ENDPOINT") or HUB).rstrip("/"),
            token=token or None,
            offline=environ.get("HF_HUB_OFFLINE", "").strip().upper() in ("1", "ON", "YES", "TRUE"),
        )
