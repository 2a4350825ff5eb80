"""What lies over the chat: sharing, prompts, the archive, and what comes in and goes out."""

from __future__ import annotations

import io
import json
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from playwright.sync_api import Page, expect

if TYPE_CHECKING:
    from conftest import Site, Watched


def test_a_branch_is_shared_until_it_is_revoked(
    site: Callable[..., Site], visit: Callable[..., Page], watched: Watched, views: Any
) -> None:
    here = site(replies=[{"match": "more", "answer": "Much more."}, {"answer": "**Beans** grow."}])
    made = views.converse(here, "Beans", "What grows?")
    page = visit(here, f"/c/{made}", permissions=["clipboard-read", "clipboard-write"])
    page.get_by_role("button", name="Share or export").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("button", name="Make a link").click()
    address = dialog.get_by_label("Address of the shared page").input_value()
    assert address.startswith(f"{here.url}/share/")
    expect(dialog.locator(".toast")).to_contain_text("Link copied")
    assert page.evaluate("navigator.clipboard.readText()") == address

    # A stranger reads it: the branch as it was, with nothing that changes it, whatever comes after.
    views.ask(here, made, "And more?")
    stranger = visit(here, address.removeprefix(here.url))
    expect(stranger.get_by_role("heading", name="Beans")).to_be_visible()
    expect(stranger.locator(".answer strong")).to_have_text("Beans")
    expect(stranger.locator(".question")).to_have_count(1)
    expect(stranger.get_by_text("Much more.")).to_have_count(0)
    for name in ("Edit", "Delete", "Answer again", "Good answer"):
        expect(stranger.get_by_role("button", name=name)).to_have_count(0)
    expect(stranger.locator("#composer, nav")).to_have_count(0)

    dialog.get_by_role("button", name="Revoke").click()
    expect(dialog.locator(".toast", has_text="no longer works")).to_be_visible()
    watched.expect("404")
    stranger.reload()
    expect(stranger.get_by_role("heading")).to_contain_text("not shared, or no longer")

    # The settings list what is shared, and revoke it too.
    dialog.get_by_role("button", name="Make a link").click()
    expect(dialog.get_by_label("Address of the shared page")).to_be_visible()
    page.keyboard.press("Escape")
    page.keyboard.press("Control+,")
    page.get_by_role("tab", name="Shared").click()
    expect(page.get_by_role("dialog").get_by_role("link", name="Beans")).to_be_visible()
    page.get_by_role("dialog").get_by_role("button", name="Revoke").click()
    expect(page.get_by_role("dialog")).to_contain_text("Nothing is shared.")
    assert here.call("GET", "/api/shares")["data"] == []


def test_a_branch_is_saved_as_one_file_that_needs_nothing_else(
    site: Callable[..., Site], visit: Callable[..., Page], views: Any, tmp_path: Path
) -> None:
    here = site(replies=views.REPLIES)
    made = views.converse(here, "Growing beans")
    picture = views.upload(here, "bean.png", "image/png", views.PNG)
    views.ask(here, made, "Tell me everything", attachments=[picture])
    page = visit(here, f"/c/{made}")
    page.get_by_role("button", name="Share or export").click()
    with page.expect_download() as download:
        page.get_by_role("button", name="Save as one HTML file").click()
    assert download.value.suggested_filename == "Growing beans.html"
    saved = tmp_path / "saved.html"
    download.value.save_as(saved)

    reader = page.context.new_page()
    asked: list[str] = []
    reader.on("request", lambda request: asked.append(request.url))
    reader.goto(saved.as_uri())
    expect(reader).to_have_title("Growing beans")
    expect(reader.locator("table")).to_contain_text("Runner")
    expect(reader.locator("pre")).to_contain_text(["def grow", "graph TD"])
    expect(reader.get_by_text("Tell me everything")).to_be_visible()
    picture_shown = reader.locator("article.user img")
    assert (picture_shown.get_attribute("src") or "").startswith("data:image/png")
    assert picture_shown.evaluate("(image) => image.naturalWidth") == 1
    assert reader.locator("script, link, iframe").count() == 0
    assert [url for url in asked if not url.startswith(("file:", "data:"))] == []
    # It has its own colours, for either theme.
    grounds: list[str] = []
    for scheme in ("light", "dark"):
        reader.emulate_media(color_scheme=scheme)  # pyright: ignore[reportArgumentType]
        grounds.append(reader.evaluate("getComputedStyle(document.documentElement).backgroundColor + getComputedStyle(document.body).backgroundColor"))  # fmt: skip
    assert grounds[0] != grounds[1]


def test_prompts_are_kept_used_changed_and_brought_back(
    site: Callable[..., Site], visit: Callable[..., Page]
) -> None:
    here = site()
    page = visit(here)
    page.get_by_role("button", name="Use a prompt").click()
    page.get_by_role("menuitem", name="Manage prompts").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("button", name="New prompt").click()
    dialog.get_by_label("Name").fill("letter")
    dialog.get_by_label("Text").fill("Write to {{name}} in a {{tone=friendly}} tone")
    dialog.get_by_role("button", name="Save").click()
    expect(dialog.get_by_role("listitem")).to_contain_text("letter")
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)

    composer = page.get_by_label("Your message")
    composer.fill("/let")
    composer.press("Enter")
    expect(dialog.get_by_label("tone")).to_have_value("friendly")
    dialog.get_by_label("name").fill("my neighbour")
    dialog.get_by_role("button", name="Insert").click()
    expect(composer).to_have_value("Write to my neighbour in a friendly tone")
    expect(composer).to_be_focused()

    page.keyboard.press("Control+,")
    page.get_by_role("tab", name="Prompts").click()
    dialog.get_by_role("button", name="Edit letter").click()
    dialog.get_by_label("Text").fill("Write a letter")
    dialog.get_by_role("button", name="Save").click()
    expect(dialog.get_by_role("listitem")).to_contain_text("Write a letter")
    dialog.get_by_role("button", name="Delete letter").click()
    expect(dialog).to_contain_text("No prompts yet.")
    dialog.get_by_role("button", name="Undo").click()
    expect(dialog.get_by_role("listitem")).to_contain_text("Write a letter")


def test_the_archive_gives_back_what_it_holds(
    site: Callable[..., Site], visit: Callable[..., Page], views: Any
) -> None:
    here = site()
    archived, removed = views.converse(here, "Archived one", "a"), views.converse(here, "Deleted one", "b")
    here.call("PATCH", f"/api/conversations/{archived}", {"archived": True})
    here.call("DELETE", f"/api/conversations/{removed}")
    page = visit(here)
    expect(page.get_by_role("navigation").get_by_role("link", name="one")).to_have_count(0)
    page.keyboard.press("Control+,")
    page.get_by_role("tab", name="Archive").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("listitem").filter(has_text="Deleted one").get_by_role("button").click()
    expect(dialog).to_contain_text("No deleted conversations.")
    dialog.get_by_role("button", name="Unarchive").click()
    expect(dialog).to_contain_text("No archived conversations.")
    page.keyboard.press("Escape")
    for name in ("Archived one", "Deleted one"):
        expect(page.get_by_role("navigation").get_by_role("link", name=name)).to_be_visible()

    # One that is archived can be read from there.
    here.call("PATCH", f"/api/conversations/{archived}", {"archived": True})
    page.keyboard.press("Control+,")
    page.get_by_role("tab", name="Archive").click()
    dialog.get_by_role("link", name="Archived one").click()
    expect(page.locator("h1")).to_have_text("Archived one")
    expect(dialog).to_have_count(0)


def chatgpt_conversation(key: str, title: str, question: str, answer: str) -> dict[str, Any]:
    def node(n: int, role: str, text: str, children: list[str]) -> dict[str, Any]:
        content = {"content_type": "text", "parts": [text]}
        message = {"id": f"{key}{n}", "author": {"role": role}, "create_time": 1_700_000_000 + n, "content": content, "recipient": "all", "metadata": {}}  # fmt: skip
        return {"id": f"{key}{n}", "parent": f"{key}{n - 1}", "children": children, "message": message}

    return {
        "id": key, "conversation_id": key, "title": title, "create_time": 1_700_000_000, "update_time": 1_700_000_009,
        "current_node": f"{key}2",
        "mapping": {
            f"{key}0": {"id": f"{key}0", "parent": None, "children": [f"{key}1"], "message": None},
            f"{key}1": node(1, "user", question, [f"{key}2"]),
            f"{key}2": node(2, "assistant", answer, []),
        },
    }  # fmt: skip


def test_an_export_of_chatgpt_is_imported_and_everything_goes_out_again(
    site: Callable[..., Site], visit: Callable[..., Page], watched: Watched, tmp_path: Path
) -> None:
    here = site()
    page = visit(here)
    page.keyboard.press("Control+,")
    page.get_by_role("tab", name="Import and export").click()
    dialog = page.get_by_role("dialog")
    export = io.BytesIO()
    with zipfile.ZipFile(export, "w") as archive:
        conversations = [
            chatgpt_conversation("a", "Old beans", "What grew?", "Beans **did**."),
            chatgpt_conversation("b", "Old peas", "And then?", "Peas."),
            {"id": "c", "title": "Broken one", "mapping": "?"},
        ]
        archive.writestr("conversations.json", json.dumps(conversations))

    def choose(name: str, data: bytes) -> None:
        with page.expect_file_chooser() as chooser:
            dialog.get_by_role("button", name="Choose a file").click()
        chooser.value.set_files([{"name": name, "mimeType": "application/zip", "buffer": data}])

    choose("chatgpt.zip", export.getvalue())
    report = dialog.locator(".import").first
    expect(report).to_contain_text("2 added", timeout=30_000)
    expect(report).to_contain_text("1 skipped")
    report.get_by_text("What was skipped, and why").click()
    expect(report.get_by_role("listitem")).to_contain_text("Broken one")
    choose("again.zip", export.getvalue())
    expect(dialog.locator(".import", has_text="again.zip")).to_contain_text("2 already here", timeout=30_000)
    expect(dialog.locator(".import", has_text="again.zip")).to_contain_text("0 added")
    choose("not.zip", b"no export at all")
    watched.expect("400")
    expect(dialog.get_by_role("alert").first).to_be_visible(timeout=30_000)

    with page.expect_download() as download:
        dialog.get_by_role("link", name="ChatGPT’s format").click()
    download.value.save_as(tmp_path / "out.zip")
    with zipfile.ZipFile(tmp_path / "out.zip") as archive:
        titles = {one["title"] for one in json.loads(archive.read("conversations.json"))}
    assert titles == {"Old beans", "Old peas"}
    with page.expect_download() as download:
        dialog.get_by_role("link", name="Markdown").click()
    download.value.save_as(tmp_path / "markdown.zip")
    with zipfile.ZipFile(tmp_path / "markdown.zip") as archive:
        assert any("Beans **did**." in archive.read(name).decode() for name in archive.namelist())
    page.keyboard.press("Escape")

    page.get_by_role("navigation").get_by_role("link", name="Old beans").click()
    expect(page.locator(".answer strong")).to_have_text("did")
    page.get_by_role("button", name="Share or export").click()
    with page.expect_download() as download:
        page.get_by_role("dialog").get_by_role("link", name="JSON").click()
    assert re.search(r"\.json$", download.value.suggested_filename)
    download.value.save_as(tmp_path / "one.json")
    assert "Beans **did**." in (tmp_path / "one.json").read_text(encoding="utf-8")
