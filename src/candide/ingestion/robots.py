"""Robots: what a host asks of programs that go through it (RFC 9309), fetched once and kept for a day.

A host without a robots.txt allows everything; one that cannot give it, because it is down or answers 5xx, allows
nothing until it can: then the rules of the day before hold on, where there are any.
"""

from __future__ import annotations

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
        self._kept: OrderedDict[str, tuple[float, Rules]] = OrderedDict()

    async def rules_of(self, url: str) -> Rules:
        """The rules for an address; raises FetchError only where the address itself must not be fetched."""
        origin = str(self._fetcher.policy.check_url(url).origin())
        until, rules = self._kept.get(origin, (0.0, None))
        if rules is not None and time.monotonic() < until:
            return rules
        try:
            fetched = await self._fetcher.fetch(f"{origin}/robots.txt", max_bytes=MAX_BYTES, cut=True)
        except FetchError as error:
            fetched = error
        if isinstance(fetched, Fetched):
            rules, kept_s = parse(fetched.content, self._agent), KEPT_S
        elif isinstance(fetched, FetchError) and fetched.answered and 300 <= fetched.answered < 500:
            # Of 4xx the RFC says so; 429 is an answer to haste and no word about robots.
            if fetched.answered == 429 and rules is None:
                rules, kept_s = self._closed(origin, fetched), fetched.retry_after or KEPT_AFTER_FAILURE_S
            else:
                rules, kept_s = rules if fetched.answered == 429 and rules else Rules(self._agent), KEPT_S
        else:
            reason = fetched if isinstance(fetched, FetchError) else None
            if rules is None or rules.unreachable:
                rules = self._closed(origin, reason)
            kept_s = (reason.retry_after if reason else None) or KEPT_AFTER_FAILURE_S
        self._kept[origin] = (time.monotonic() + kept_s, rules)
        self._kept.move_to_end(origin)
        while len(self._kept) > MAX_HOSTS:
            self._kept.popitem(last=False)
        return rules

    def _closed(self, origin: str, error: FetchError | None) -> Rules:
        reason = error.message if error else f"{origin}/robots.txt cannot be read"
        return Rules(self._agent, unreachable=reason)


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
