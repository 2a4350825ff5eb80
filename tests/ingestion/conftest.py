"""Fixtures of what is read: websites on this machine, and a fetcher that may go there."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from candide.ingestion.fetching import Fetcher

from .websites import Website


@pytest.fixture
async def website() -> AsyncIterator[Website]:
    site = await Website().start()
    yield site
    await site.stop()


@pytest.fixture
async def fetcher() -> AsyncIterator[Fetcher]:
    fetcher = Fetcher(allowed=["127.0.0.1"], timeout_s=20)
    yield fetcher
    await fetcher.close()
