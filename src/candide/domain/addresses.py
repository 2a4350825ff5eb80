"""Addresses: which are this machine's own, and how an engine's is completed."""

from __future__ import annotations

import ipaddress


def is_loopback(host: str) -> bool:
    """Whether a host name or address, without port, can only mean this machine."""
    host = host.strip("[]").lower()
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def complete_base_url(url: str) -> str:
    """The base URL of an engine, with the `/v1` that OpenAI's clients want in it and people leave out as often."""
    base = url.rstrip("/")
    return base + "/v1" if base.count("/") == 2 else base
