"""The list of conversations: by date, in folders, renamed, put away and found, as in every other window."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import Locator, Route, expect

if TYPE_CHECKING:
    from conftest import Chat, Site, Watched

Sites = Callable[..., "Site"]
Chats = Callable[..., "Chat"]

DAY_S = 86_400


def link(one: Chat, title: str) -> Locator:
    return one.sidebar.get_by_role("link", name=title, exact=True)


def undo(one: Chat) -> None:
    one.page.get_by_role("region", name="Notes").get_by_role("button", name="Undo").last.click()


def dated(here: Site, title: str, days: float) -> None:
    at = time.time() - days * DAY_S
    here.add(title, f"question of {title}", f"answer of {title}", created_at=at, updated_at=at)


def test_conversations_stand_by_date_and_pinned_ones_first(site: Sites, chat: Chats) -> None:
    here = site()
    for title, days in [("Now", 0), ("Yesterdays", 1), ("Weeks", 4), ("Months", 15), ("Old", 400)]:
        dated(here, title, days)
    one = chat(here)
    rows = one.sidebar.locator(".list :is(h2, li > a)")
    months = one.page.evaluate(
        "new Date((Date.now() / 1000 - 400 * 86400) * 1000)"
        ".toLocaleDateString('en', {month: 'long', year: 'numeric'})"
    )
    dates = ["Today", "Now", "Yesterday", "Yesterdays", "Last 7 days", "Weeks", "Last 30 days", "Months"]
    expect(rows).to_have_text(["Folders", *dates, months, "Old"])
    one.of_row("Weeks", "Pin")
    pinned = ["Pinned", "Weeks", "Folders", *(d for d in dates if d not in ("Last 7 days", "Weeks"))]
    expect(rows).to_have_text([*pinned, months, "Old"])
    one.page.reload()
    expect(rows).to_have_text([*pinned, months, "Old"])
    one.of_row("Weeks", "Unpin")
    expect(rows).to_have_text(["Folders", *dates, months, "Old"])


def test_a_conversation_is_renamed_and_other_windows_see_it(site: Sites, chat: Chats) -> None:
    here = site()
    opened = here.add("Old name", "hello", "hi")
    one, other = chat(here), chat(here, f"/c/{opened.id}")
    one.of_row("Old name", "Rename")
    field = one.sidebar.get_by_role("textbox", name="New name")
    expect(field).to_be_focused()
    field.fill("By the menu")
    field.press("Enter")
    for window in (one, other):
        expect(link(window, "By the menu")).to_be_visible()
    expect(other.page.get_by_role("main").get_by_role("heading", name="By the menu")).to_be_visible()
    link(one, "By the menu").dblclick()
    field.fill("nothing")
    field.press("Escape")
    expect(link(one, "By the menu")).to_be_visible()
    link(one, "By the menu").dblclick()
    field.fill("By two clicks")
    one.composer.click()
    expect(link(other, "By two clicks")).to_be_visible()
    # What another window makes and takes away.
    other.of_row("By two clicks", "Pin")
    expect(one.sidebar.get_by_role("heading", name="Pinned")).to_be_visible()
    other.of_row("By two clicks", "Delete")
    expect(link(one, "By two clicks")).to_have_count(0)
    here.call("POST", "/api/conversations", {"title": "From elsewhere"})
    for window in (one, other):
        expect(link(window, "From elsewhere")).to_be_visible()


def test_a_conversation_is_archived_and_deleted_and_comes_back(
    site: Sites, chat: Chats, watched: Watched
) -> None:
    watched.expect("status of 404")
    here = site()
    opened = here.add("Apples", "about apples", "red")
    here.add("Pears", "about pears", "green")
    one = chat(here, f"/c/{opened.id}")
    expect(one.text()).to_have_text("red")
    one.of_row("Pears", "Archive")
    expect(link(one, "Pears")).to_have_count(0)
    one.button("Settings").click()
    one.page.get_by_role("tab", name="Archive").click()
    one.button("Unarchive").click()
    expect(one.page.get_by_text("No archived conversations.")).to_be_visible()
    one.page.keyboard.press("Escape")
    expect(link(one, "Pears")).to_be_visible()
    one.of_row("Pears", "Archive")
    expect(link(one, "Pears")).to_have_count(0)
    undo(one)
    expect(link(one, "Pears")).to_be_visible()
    # The one that is open.
    one.of_row("Apples", "Delete")
    expect(link(one, "Apples")).to_have_count(0)
    expect(one.answers).to_have_count(0)
    expect(one.page).to_have_url(here.url + "/")
    undo(one)
    link(one, "Apples").click()
    expect(one.text()).to_have_text("red")
    one.of_row("Apples", "Delete")
    expect(link(one, "Apples")).to_have_count(0)
    one.page.go_back()
    expect(one.page.get_by_text("This conversation was deleted.")).to_be_visible()
    one.button("Settings").click()
    one.page.get_by_role("tab", name="Archive").click()
    one.button("Restore").click()
    one.page.keyboard.press("Escape")
    expect(link(one, "Apples")).to_be_visible()
    expect(one.text()).to_have_text("red")


def test_conversations_are_kept_in_folders(site: Sites, chat: Chats) -> None:
    here = site()
    here.add("Apples", "about apples", "red")
    here.add("Pears", "about pears", "green")
    one = chat(here)
    one.of_row("Apples", "Move to a new folder")
    one.page.get_by_label("Name").fill("Fruit")
    one.button("Save").click()
    folder = one.sidebar.get_by_role("group").filter(has_text="Fruit")
    expect(link(one, "Apples")).to_be_hidden()
    folder.get_by_text("Fruit", exact=True).click()
    expect(folder.get_by_role("link", name="Apples")).to_be_visible()
    one.of_row("Pears", "Move to Fruit")
    expect(folder.get_by_role("link")).to_have_count(2)
    one.of_row("Apples", "Take out of its folder")
    expect(folder.get_by_role("link")).to_have_count(1)
    expect(link(one, "Apples")).to_be_visible()
    one.choose("Options for folder Fruit", "Edit folder")
    one.page.get_by_label("Name").fill("Orchard")
    one.button("Save").click()
    folder = one.sidebar.get_by_role("group").filter(has_text="Orchard")
    expect(folder.get_by_role("link", name="Pears")).to_be_visible()
    one.choose("Options for folder Orchard", "Delete folder")
    expect(folder).to_have_count(0)
    expect(link(one, "Pears")).to_be_visible()
    undo(one)
    expect(folder).to_have_count(1)
    expect(one.sidebar.locator(".rest").get_by_role("link", name="Pears")).to_have_count(0)
    one.choose("Options for folder Orchard", "New conversation here")
    one.ask("a new one")
    expect(one.text()).to_have_text("You said: a new one")
    listed = here.call("GET", "/api/conversations")["data"]
    (made,) = [found for found in listed if found["title"] not in ("Apples", "Pears")]
    (kept,) = [found for found in listed if found["title"] == "Pears"]
    assert made["folder_id"] == kept["folder_id"] is not None


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_ten_thousand_conversations_scroll_to_the_last(site: Sites, chat: Chats) -> None:
    here = site()
    now = time.time()
    here.add_all(
        [here.draft(f"Number {n}", created_at=now - 600 * n, updated_at=now - 600 * n) for n in range(10_000)]
    )
    one = chat(here)
    expect(link(one, "Number 0")).to_be_visible()
    last = link(one, "Number 9999")
    scroll = """(list) => new Promise((done) => {
      const down = () => {
        list.scrollTop = list.scrollHeight
        if ([...list.querySelectorAll('a')].some((a) => a.textContent.trim() === 'Number 9999')) done()
        else requestAnimationFrame(down)
      }
      down()
    })"""
    one.sidebar.locator(".list").evaluate(scroll)
    expect(last).to_be_in_viewport()
    # Only what is in sight is in the page.
    assert one.sidebar.get_by_role("link").count() < 200
    last.click()
    expect(one.page.get_by_role("main").get_by_role("heading", name="Number 9999")).to_be_visible()
    expect(last).to_be_in_viewport()


def test_search_finds_titles_and_messages_on_other_branches(site: Sites, chat: Chats) -> None:
    here = site()
    here.add("Xylophones", "about music", "fine")
    made = here.call("POST", "/api/conversations", {"title": "Garden"})["id"]
    one = chat(here, f"/c/{made}")
    one.ask("When do I sow the broad beans?")
    expect(one.text()).to_have_text("You said: When do I sow the broad beans?")
    one.done()
    one.questions.hover()
    one.questions.get_by_role("button", name="Edit").click()
    one.questions.get_by_role("textbox", name="Edit").fill("When do I sow peas?")
    one.page.keyboard.press("Enter")
    expect(one.text()).to_have_text("You said: When do I sow peas?")
    one.done()

    box = one.sidebar.get_by_role("searchbox")
    box.fill("xylo")
    hit = one.sidebar.get_by_role("link", name="Xylophones")
    expect(hit.first.locator("mark").first).to_be_visible()
    hit.first.click()
    expect(one.text()).to_have_text("fine")
    box.fill("broad beans")
    hits = one.sidebar.get_by_role("link", name="Garden")
    expect(hits).to_have_count(2)
    expect(hits.first.locator("mark")).to_have_text(["broad", "beans"])
    question = hits.filter(has_not_text="You said")
    question.click()
    expect(one.questions).to_contain_text("When do I sow the broad beans?")
    expect(one.questions).to_contain_text("1 of 2")
    expect(one.questions).to_be_focused()
    expect(one.questions).to_be_in_viewport()
    box.fill("no such word anywhere")
    expect(one.sidebar.get_by_text("Nothing found.")).to_be_visible()
    box.press("Escape")
    expect(link(one, "Xylophones")).to_be_visible()


def test_what_cannot_be_listed_now_is_asked_for_again_in_silence(
    site: Sites, chat: Chats, watched: Watched
) -> None:
    watched.expect(r"Failed to load resource: net::ERR_")
    here = site()
    now = time.time()
    here.add_all([here.draft(f"Number {n}", created_at=now - n, updated_at=now - n) for n in range(150)])
    one = chat(here)
    expect(link(one, "Number 0")).to_be_visible()
    refused: list[str] = []

    def refuse_once(route: Route) -> None:
        if refused:
            route.continue_()
        else:
            refused.append(route.request.url)
            route.abort()

    one.page.route("**/api/conversations?*before=*", refuse_once)
    one.sidebar.locator(".list").evaluate("(list) => { list.scrollTop = list.scrollHeight }")
    expect(one.sidebar.get_by_text("Loading…")).to_have_count(0)
    one.sidebar.locator(".list").evaluate("(list) => { list.scrollTop = list.scrollHeight }")
    expect(link(one, "Number 149")).to_be_in_viewport()
    assert len(refused) == 1
    expect(one.page.get_by_role("alert")).to_have_count(0)
