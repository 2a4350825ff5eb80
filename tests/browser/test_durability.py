"""Nothing that was shown or written is lost: not by a reload, a cut, another window, or a killed server."""

from __future__ import annotations

import re
import signal
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from playwright.sync_api import expect

if TYPE_CHECKING:
    from conftest import Chat, Site, Watched

Sites = Callable[..., "Site"]
Chats = Callable[..., "Chat"]

LONG_MS = 90_000

HIDE = """(state) => {
  Object.defineProperty(document, 'visibilityState', {configurable: true, get: () => state})
  document.dispatchEvent(new Event('visibilitychange'))
}"""


def words(count: int) -> str:
    return " ".join(f"w{n}" for n in range(1, count + 1))


@pytest.fixture(autouse=True)
def cuts_are_expected(watched: Watched) -> None:
    """A browser writes every request that fails into its console."""
    watched.expect(r"Failed to load resource: net::ERR_")


def id_of(one: Chat) -> str:
    """The conversation that is open."""
    expect(one.page).to_have_url(re.compile("/c/conv_"))
    return one.page.url.rsplit("/", 1)[1]


def messages(here: Site, conversation_id: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = here.call("GET", f"/api/conversations/{conversation_id}")["messages"]
    return found


def ends(one: Chat, count: int, n: int = 0) -> None:
    """Wait for the end of an answer of so many words, which lacks none and has none twice."""
    expect(one.text(n)).to_contain_text(f"w{count}", timeout=LONG_MS)
    expect(one.answers.nth(n)).to_have_attribute("aria-busy", "false", timeout=LONG_MS)
    expect(one.text(n)).to_have_text(words(count))


def test_an_answer_goes_on_after_a_reload_and_in_a_new_tab(site: Sites, chat: Chats) -> None:
    one = chat(site(replies=[{"tokens": 300, "pace_ms": 30}]))
    one.ask("count")
    expect(one.text()).to_contain_text("w10 ")
    one.page.reload()
    expect(one.text()).to_contain_text("w20 ")
    expect(one.text()).to_have_text(re.compile(r"^w1 w2 w3 "))
    # The only tab is closed, and another opened.
    path, context = one.page.url, one.page.context
    one.page.close()
    other = type(one)(context.new_page())
    other.page.goto(path)
    expect(other.text()).to_contain_text("w10 ")
    other.composer.fill("a draft, meanwhile")
    ends(other, 300)
    expect(other.composer).to_have_value("a draft, meanwhile")


def test_two_windows_show_the_same_answer_and_either_stops_it(site: Sites, chat: Chats) -> None:
    here = site(replies=[{"match": "short", "tokens": 60, "pace_ms": 30}, {"tokens": 2000, "pace_ms": 30}])
    one = chat(here)
    one.ask("short")
    other = chat(here, f"/c/{id_of(one)}")
    ends(one, 60)
    ends(other, 60)
    other.ask("long")
    expect(one.questions).to_have_count(2)
    expect(one.text(1)).to_contain_text("w5 ")
    one.button("Stop").click()
    expect(one.answers.nth(1)).to_contain_text("Stopped.")
    expect(other.answers.nth(1)).to_contain_text("Stopped.")
    expect(other.text(1)).to_have_text(one.text(1).inner_text())


def test_a_network_that_comes_back_is_caught_up_with(site: Sites, chat: Chats) -> None:
    here = site(replies=[{"match": "count", "tokens": 200, "pace_ms": 40}, {"answer": "yes"}])
    one = chat(here)
    one.ask("count")
    expect(one.text()).to_contain_text("w5 ")
    one.page.context.set_offline(True)
    expect(one.banner).to_contain_text("The server cannot be reached")
    one.ask("are you there?")
    expect(one.page.get_by_text("Sending…")).to_be_visible()
    one.page.context.set_offline(False)
    expect(one.banner).to_be_empty()
    ends(one, 200)
    expect(one.text(1)).to_have_text("yes", timeout=LONG_MS)
    expect(one.questions).to_have_count(2)


def test_a_server_that_holds_still_is_waited_for(site: Sites, chat: Chats) -> None:
    here = site(replies=[{"match": "count", "tokens": 200, "pace_ms": 40}, {"answer": "yes"}])
    one = chat(here)
    one.ask("count")
    expect(one.text()).to_contain_text("w5 ")
    assert here.server.process is not None
    here.server.process.send_signal(signal.SIGSTOP)
    try:
        one.ask("are you there?")
        expect(one.page.get_by_text("Sending…")).to_be_visible()
    finally:
        here.server.process.send_signal(signal.SIGCONT)
    ends(one, 200)
    expect(one.text(1)).to_have_text("yes", timeout=LONG_MS)
    expect(one.questions).to_have_count(2)


@pytest.mark.timeout(300)
def test_an_answer_goes_on_in_every_window_when_the_server_was_killed(site: Sites, chat: Chats) -> None:
    here = site(replies=[{"match": "count", "tokens": 250, "pace_ms": 30}, {"answer": "yes"}])
    one = chat(here)
    one.ask("count")
    other = chat(here, f"/c/{id_of(one)}")
    expect(other.text()).to_contain_text("w10 ")
    one.composer.fill("a draft")
    here.kill()
    for window in (one, other):
        expect(window.banner).to_contain_text("The server cannot be reached")
    # What was shown stays, and what is asked now waits for the server, also through a reload.
    expect(one.text()).to_have_text(re.compile(r"^w1 w2 w3 "))
    other.ask("are you there?")
    expect(other.page.get_by_text("Sending…")).to_be_visible()
    here.start()
    for window in (one, other):
        ends(window, 250)
        expect(window.banner).to_be_empty()
        expect(window.text(1)).to_have_text("yes", timeout=LONG_MS)
        expect(window.questions).to_have_count(2)
        expect(window.answers).to_have_count(2)
    expect(one.composer).to_have_value("a draft")
    answer = messages(here, id_of(one))[1]
    assert answer["text"].strip() == words(250)


def test_a_question_asked_without_a_server_is_kept_and_asked_once(site: Sites, chat: Chats) -> None:
    here = site()
    one = chat(here)
    one.ask("first")
    expect(one.text()).to_have_text("You said: first")
    conversation = id_of(one)
    here.kill()
    one.ask("second")
    expect(one.page.get_by_text("Sending…")).to_be_visible()
    # The page itself is not there either until the server is: the tab is closed, and two are opened.
    context = one.page.context
    one.page.close()
    here.start()
    other, third = type(one)(context.new_page()), type(one)(context.new_page())
    for tab in (other, third):
        tab.page.goto(f"/c/{conversation}")
    for tab in (other, third):
        expect(tab.text(1)).to_have_text("You said: second", timeout=LONG_MS)
        expect(tab.questions).to_have_count(2)
        expect(tab.page.get_by_text("Sending…")).to_have_count(0)
    other.page.reload()
    expect(other.text(1)).to_have_text("You said: second")
    expect(other.questions).to_have_count(2)
    assert [m["text"] for m in messages(here, conversation) if m["role"] == "user"] == ["first", "second"]
    assert len(here.engine.requests) == 2


def test_a_new_conversation_is_made_once_when_the_server_is_away(site: Sites, chat: Chats) -> None:
    here = site()
    one = chat(here)
    expect(one.model).to_contain_text("scripted")
    here.kill()
    one.ask("first")
    expect(one.page.get_by_text("Sending…")).to_be_visible()
    here.start()
    expect(one.text()).to_have_text("You said: first", timeout=LONG_MS)
    assert len(here.call("GET", "/api/conversations")["data"]) == 1
    expect(one.sidebar.get_by_role("link", name="New conversation")).to_have_count(2)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_an_answer_survives_ten_kills(site: Sites, chat: Chats) -> None:
    here = site(replies=[{"tokens": 2000, "pace_ms": 10}])
    one = chat(here)
    one.ask("count")
    one.composer.fill("the draft")
    for kill in range(10):
        # It has gone on since the last one.
        shown = len(one.text().inner_text().split()) if kill else 0
        expect(one.text()).to_contain_text(f"w{shown + 20} ", timeout=LONG_MS)
        here.kill()
        here.start()
    ends(one, 2000)
    expect(one.composer).to_have_value("the draft")
    expect(one.answers).to_have_count(1)
    assert messages(here, id_of(one))[-1]["text"].strip() == words(2000)


def test_two_conversations_stream_at_once_and_what_is_new_is_marked(site: Sites, chat: Chats) -> None:
    here = site(
        replies=[
            {"match": "apples", "tokens": 150, "pace_ms": 40},
            {"match": "pears", "tokens": 500, "pace_ms": 40},
        ]
    )
    for title in ("Apples", "Pears"):
        here.call("POST", "/api/conversations", {"title": title})
    one = chat(here)
    one.sidebar.get_by_role("link", name="Apples").click()
    one.ask("apples")
    expect(one.text()).to_contain_text("w3 ")
    one.sidebar.get_by_role("link", name="Pears").click()
    one.ask("pears")
    expect(one.text()).to_contain_text("w3 ")
    assert here.engine.active == 2
    expect(one.row("Pears").get_by_role("img", name="An answer is being written")).to_be_visible()
    expect(one.row("Apples").get_by_role("img", name="New answer")).to_be_visible(timeout=LONG_MS)
    expect(one.row("Pears").get_by_role("img", name="New answer")).to_have_count(0)
    expect(one.page).to_have_title(re.compile(r"^\(1\) "))
    one.row("Apples").get_by_role("link").click()
    ends(one, 150)
    expect(one.row("Apples").get_by_role("img")).to_have_count(0)
    expect(one.page).not_to_have_title(re.compile(r"\(1\)"))
    one.row("Pears").get_by_role("link").click()
    ends(one, 500)


def test_a_hidden_page_lets_go_of_its_lines_and_catches_up(
    site: Sites, chat: Chats, wait_until: Any, watched: Watched
) -> None:
    here = site(replies=[{"tokens": 400, "pace_ms": 40}])
    one = chat(here)
    one.ask("count")
    expect(one.text()).to_contain_text("w3 ")
    conversation = id_of(one)
    with one.page.expect_event("requestfailed", lambda request: "/api/changes" in request.url):
        one.page.evaluate(HIDE, "hidden")
    # What had come before the line was cut may be drawn a frame later; after that nothing comes.
    one.page.wait_for_timeout(1000)
    shown = one.text().inner_text()
    wait_until(lambda: messages(here, conversation)[-1]["state"] == "complete", 90)
    assert one.text().inner_text() == shown
    one.page.evaluate(HIDE, "visible")
    ends(one, 400)
    expect(one.banner).to_be_empty()
    wait_until(lambda: not here.call("GET", f"/api/conversations/{conversation}")["unread"])
