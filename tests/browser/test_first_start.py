"""The first start on the page: the model is on its way, and nobody has to wait for it before they write."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

if TYPE_CHECKING:
    from conftest import Chat, ModelHost, ServerProcess, Watched


@pytest.mark.weights
@pytest.mark.timeout(240)
def test_the_page_shows_the_download_and_chats_when_it_is_done(
    host_model: Callable[..., ModelHost],
    candide_server: Callable[..., ServerProcess],
    chat: Callable[..., Chat],
    smol_path: Path,
) -> None:
    host = host_model(smol_path.read_bytes())
    host.hold()
    server = candide_server("--model", host.url, CANDIDE_ANSWER_TOKENS="16")
    here = chat(server)
    notice = here.page.get_by_role("status").filter(has_text="Fetching tiny")
    expect(notice).to_contain_text("51%", timeout=60_000)
    expect(here.page.get_by_role("progressbar", name="Fetching tiny")).to_be_visible()
    here.ask("Say hello.")
    expect(here.questions).to_have_text("Say hello.")
    host.let_go()
    here.done()
    expect(here.text()).not_to_be_empty()
    expect(notice).to_be_hidden()


def test_a_download_that_fails_says_why_and_is_tried_again(
    host_model: Callable[..., ModelHost],
    candide_server: Callable[..., ServerProcess],
    chat: Callable[..., Chat],
    watched: Watched,
) -> None:
    watched.expect("503|409")
    host = host_model(b"GGUF" + bytes(1_000_000))
    host.is_away = True
    here = chat(candide_server("--model", host.url))
    notice = here.page.get_by_role("status").filter(has_text="The model could not be fetched")
    expect(notice).to_contain_text("404")
    host.is_away = False
    host.hold()
    notice.get_by_role("button", name="Try again").click()
    expect(here.page.get_by_role("status").filter(has_text="Fetching tiny")).to_be_visible()
    host.let_go()
