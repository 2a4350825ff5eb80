"""Robots: what a host asks of programs that go through it (RFC 9309), fetched once and kept for a day.

A host without a robots.txt allows everything; one that cannot give it, because it is down or answers 5xx, allows
nothing until it can: then the rules of the day before hold on, where there are any.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from dataclasses import dataclass

from protego import Protego

from candide.errors import FetchError
from candide.ingestion.addresses import normalize
from candide.ingestion.fetching import Fetched, Fetcher

KEPT_S = 86_400.0
KEPT_AFTER_FAILURE_S = 600.0
MAX_HOSTS = 1_000
MAX_BYTES = 512 * 1024
"""What stands after that in a robots.txt is not read; RFC 9309 asks for 500 KiB at least."""

LONGEST_DELAY_S = 60.0
"""A host that wants more than this between two pages is visited as seldom as this."""


@dataclass(frozen=True)
class Rules:
    """What one host asks."""

    agent: str
    delay_s: float | None = None
    """The pause that it wants between two requests."""
    sitemaps: tuple[str, ...] = ()
    unreachable: str = ""
    """Why it is not known what it asks; nothing is allowed then."""
    parsed: Protego | None = None

    def allows(self, url: str) -> bool:
        if self.unreachable:
            return False
        return self.parsed is None or self.parsed.can_fetch(url, self.agent)


class Robots:
    """The rules of the hosts that were asked for, by scheme, name and port."""

    def __init__(self, fetcher: Fetcher, *, agent: str | None = None) -> None:
        """`agent` is the name that robots.txt is searched for, the fetcher's without its version when absent."""
        self._fetcher = fetcher
        self._agent = agent or fetcher.user_agent.partition("/")[0]
        self._locks: dict[str, asyncio.Lock] = {}
        self._kept: OrderedDict[str, tuple[float, Rules]] = OrderedDict()

    async def rules_of(self, url: str) -> Rules:
        """The rules for an address; raises FetchError only where the address itself must not be fetched."""
        origin = str(self._fetcher.policy.check_url(url).origin())
        # Whoever asks while they are being fetched waits for them.
        async with self._locks.setdefault(origin, asyncio.Lock()):
            until, rules = self._kept.get(origin, (0.0, None))
            if rules is None or time.monotonic() >= until:
                rules, kept_s = await self._fetch(origin, rules)
                self._kept[origin] = (time.monotonic() + kept_s, rules)
                self._kept.move_to_end(origin)
        while len(self._kept) > MAX_HOSTS:
            forgotten, _ = self._kept.popitem(last=False)
            self._locks.pop(forgotten, None)
        return rules

    async def _fetch(self, origin: str, before: Rules | None) -> tuple[Rules, float]:
        """The rules as they are now, and for how many seconds they hold."""
        try:
            fetched = await self._fetcher.fetch(f"{origin}/robots.txt", max_bytes=MAX_BYTES, cut=True)
        except FetchError as error:
            # Of 4xx and of redirects without end the RFC says so; 429 is an answer to haste and no word about robots.
            if error.answered and 300 <= error.answered < 500 and error.answered != 429:
                return Rules(self._agent), KEPT_S
            known = before if before and not before.unreachable else None
            return known or Rules(
                self._agent, unreachable=error.message
            ), error.retry_after or KEPT_AFTER_FAILURE_S
        assert isinstance(fetched, Fetched)
        return parse(fetched.content, self._agent), KEPT_S


def parse(content: bytes, agent: str) -> Rules:
    """What a robots.txt asks of `agent`; whatever it consists of, something comes out."""
    text = content.decode("utf-8-sig", errors="replace").replace("\x00", "")
    parsed = Protego.parse(text)
    delay = parsed.crawl_delay(agent)
    rate = parsed.request_rate(agent)
    if delay is None and rate is not None and rate.requests:
        delay = rate.seconds / rate.requests
    if delay is not None and not 0 <= delay < float("inf"):
        delay = None
    return Rules(
        agent,
        delay_s=None if delay is None else min(float(delay), LONGEST_DELAY_S),
        sitemaps=tuple(url for text in parsed.sitemaps if (url := normalize(text))),
        parsed=parsed,
    )
