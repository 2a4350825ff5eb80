"""Addresses: which are this machine's own, what site one belongs to, and how an engine's is completed."""

from __future__ import annotations

import ipaddress
import urllib.parse


def is_loopback(host: str) -> bool:
    """Whether a host name or address, without port, can only mean this machine."""
    host = host.strip("[]").lower()
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


THIS_MACHINE = "this machine"


def locate(url: str) -> str:
    """Where what answers at a URL is, as people say it: `this machine`, or the host."""
    host = urllib.parse.urlsplit(url).hostname or ""
    return THIS_MACHINE if is_loopback(host) else host


def find_site(url: str) -> str:
    """The host of an address on the web, without `www.`: what `site:` looks for. Empty for what is no such address."""
    try:
        parts = urllib.parse.urlsplit(url.strip())
        host = parts.hostname or ""
    except ValueError:
        return ""
    return host.strip(".").removeprefix("www.") if parts.scheme in ("http", "https") else ""


def complete_base_url(url: str) -> str:
    """The base URL of an engine, with the `/v1` that OpenAI's clients want in it and people leave out as often."""
    base = url.rstrip("/")
    return base + "/v1" if base.count("/") == 2 else base
