"""A conversation on the page: what is asked, what the engine is given, what is shown, and what may be done with it."""

from __future__ import annotations

import base64
import io
import re
import zipfile
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from playwright.sync_api import Route, expect

if TYPE_CHECKING:
    from conftest import Chat, Site, Watched

Sites = Callable[..., "Site"]
Chats = Callable[..., "Chat"]

PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)

GIVE_FILES = """(element, {kind, files, text}) => {
  const carried = new DataTransfer()
  for (const {name, type, base64} of files)
    carried.items.add(new File([Uint8Array.from(atob(base64), (c) => c.charCodeAt(0))], name, {type}))
  if (text) carried.setData('text/plain', text)
  const options = {bubbles: true, cancelable: true}
  element.dispatchEvent(kind === 'paste' ? new ClipboardEvent('paste', {...options, clipboardData: carried})
    : new DragEvent('drop', {...options, dataTransfer: carried}))
}"""


WATCH_WORDS = """(whole) => {
  window.wrong = []
  const watch = () => {
    const shown = document.querySelector('.markdown')?.textContent.trim().replace(/\\s+/g, ' ') ?? ''
    if (!whole.startsWith(shown)) window.wrong.push(shown)
  }
  new MutationObserver(watch).observe(document.body, {subtree: true, childList: true, characterData: true})
}"""


def words(count: int, first: int = 1) -> str:
    """The scripted engine's made-up answer of so many tokens, as a page shows it."""
    return " ".join(f"w{n}" for n in range(first, count + 1))


def file(name: str, media_type: str, data: bytes) -> dict[str, str]:
    return {"name": name, "type": media_type, "base64": base64.b64encode(data).decode()}


def make_word(text: str) -> bytes:
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w") as archive:
        archive.writestr(
            "word/document.xml",
            '<w:document xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main">'
            f"<w:body><w:p><w:r><w:t>{text}</w:t></w:r></w:p></w:body></w:document>",
        )
    return written.getvalue()


def said(request: dict[str, Any], role: str) -> list[Any]:
    return [message["content"] for message in request["messages"] if message["role"] == role]


def stored(here: Site) -> list[dict[str, Any]]:
    """The messages of the only conversation."""
    (conversation,) = here.call("GET", "/api/conversations")["data"]
    messages: list[dict[str, Any]] = here.call("GET", f"/api/conversations/{conversation['id']}")["messages"]
    return messages


def test_the_first_thing_seen_is_the_chat(site: Sites, chat: Chats) -> None:
    one = chat(site())
    expect(one.composer).to_be_focused()
    expect(one.page.get_by_role("dialog")).to_have_count(0)
    expect(one.page.get_by_role("main")).to_contain_text("Runs on this machine")
    nameless = one.page.evaluate(
        """[...document.querySelectorAll('button, a[href], input, select, textarea')]
        .filter((e) => !e.hidden && !e.getAttribute('aria-label') && !e.textContent.trim() && !e.labels?.length)
        .map((e) => e.outerHTML)"""
    )
    assert nameless == []


def test_a_question_is_asked_with_enter_and_its_answer_streams(site: Sites, chat: Chats) -> None:
    one = chat(site(replies=[{"tokens": 150, "pace_ms": 10}]))
    one.page.evaluate(WATCH_WORDS, words(150))
    empty = one.composer.bounding_box()
    one.composer.press_sequentially("line 1")
    for n in range(2, 8):
        one.composer.press("Shift+Enter")
        one.composer.press_sequentially(f"line {n}")
    expect(one.composer).to_have_value("\n".join(f"line {n}" for n in range(1, 8)))
    grown = one.composer.bounding_box()
    assert empty is not None
    assert grown is not None
    assert grown["height"] > empty["height"] * 2.5
    one.composer.press("Enter")
    expect(one.composer).to_have_value("")
    expect(one.page).to_have_url(re.compile(r"/c/conv_"))
    expect(one.questions).to_contain_text("line 7")
    expect(one.text()).to_have_text(re.compile(r"^w1 w2( w\d+)*$"))
    expect(one.answers).to_have_attribute("aria-busy", "true")
    one.done()
    expect(one.text()).to_have_text(words(150))
    # At any time, what was shown was the beginning of it.
    assert one.page.evaluate("window.wrong") == []
    shrunk = one.composer.bounding_box()
    assert shrunk is not None
    assert shrunk["height"] == empty["height"]


def test_a_draft_is_kept_for_each_conversation(site: Sites, chat: Chats) -> None:
    here = site()
    other = here.add("Garden", "hello", "hi")
    one = chat(here)
    one.composer.fill("of the new one")
    one.sidebar.get_by_role("link", name="Garden").click()
    expect(one.text()).to_have_text("hi")
    expect(one.composer).to_have_value("")
    one.composer.fill("of the garden")
    one.page.reload()
    expect(one.composer).to_have_value("of the garden")
    one.page.goto("/")
    expect(one.composer).to_have_value("of the new one")
    one.ask("sent")
    one.done()
    one.page.goto("/")
    expect(one.composer).to_have_value("")
    one.page.goto(f"/c/{other.id}")
    expect(one.composer).to_have_value("of the garden")


def test_files_that_are_pasted_or_dropped_reach_the_engine(site: Sites, chat: Chats) -> None:
    here = site()
    one = chat(here)
    one.composer.evaluate(GIVE_FILES, {"kind": "paste", "files": [file("dot.png", "image/png", PIXEL)]})
    expect(one.button("Remove dot.png")).to_be_visible()
    notes = file("notes.txt", "text/plain", b"The beans are in bed four.")
    one.composer.evaluate(GIVE_FILES, {"kind": "drop", "files": [notes]})
    expect(one.button("Remove notes.txt")).to_be_visible()
    long = "A very long text. " * 600
    one.composer.evaluate(GIVE_FILES, {"kind": "paste", "files": [], "text": long})
    expect(one.button("Remove pasted text.txt")).to_be_visible()
    expect(one.composer).to_have_value("")
    one.page.reload()
    expect(one.button("Remove notes.txt")).to_be_visible()
    one.ask("What is this?")
    one.done()
    expect(one.questions.get_by_role("img", name="dot.png")).to_be_visible()
    expect(one.questions.get_by_role("link", name=re.compile("notes.txt"))).to_be_visible()
    (question,) = said(here.engine.requests[-1], "user")
    text = "".join(part.get("text", "") for part in question)
    assert "What is this?" in text
    assert "The beans are in bed four." in text
    assert long.strip() in text
    (image,) = [part["image_url"]["url"] for part in question if part["type"] == "image_url"]
    assert image == "data:image/png;base64," + base64.b64encode(PIXEL).decode()


def test_a_file_that_is_no_text_is_refused_with_a_reason(site: Sites, chat: Chats, watched: Watched) -> None:
    one = chat(site())
    watched.expect("status of 400")
    one.composer.evaluate(
        GIVE_FILES, {"kind": "drop", "files": [file("song.mp3", "audio/mpeg", b"\xff\xfb\x90\x00\x00\x01")]}
    )
    expect(one.page.get_by_role("alert")).to_contain_text("song.mp3")
    expect(one.button("Remove song.mp3")).to_have_count(0)


def test_a_document_is_read_and_asked_about(site: Sites, chat: Chats) -> None:
    here = site()
    other = here.add("Garden", "hello", "hi")
    one = chat(here)
    held: list[Route] = []
    one.page.route("**/api/files?*", lambda route: held.append(route))
    report = file("report.docx", "", make_word("The beans are in bed four."))
    one.composer.evaluate(GIVE_FILES, {"kind": "drop", "files": [report]})
    expect(one.page.get_by_text("Reading report.docx…")).to_be_visible()
    one.composer.fill("Where are the beans?")
    expect(one.button("Send")).to_be_disabled()
    # Who goes on meanwhile finds it where it was dropped.
    one.sidebar.get_by_role("link", name="Garden").click()
    expect(one.page).to_have_url(re.compile(other.id))
    expect(one.page.get_by_text("Reading report.docx…")).to_have_count(0)
    with one.page.expect_response("**/api/files?*"):
        held[0].continue_()
    one.page.go_back()
    expect(one.button("Remove report.docx")).to_be_visible()
    expect(one.page.get_by_text("Reading report.docx…")).to_have_count(0)
    expect(one.composer).to_have_value("Where are the beans?")
    one.composer.press("Enter")
    one.done()
    expect(one.questions.get_by_role("link", name=re.compile("report.docx"))).to_be_visible()
    assert said(here.engine.requests[-1], "user")[-1] == (
        "--- report.docx ---\nThe beans are in bed four.\n--- end of report.docx ---\n\nWhere are the beans?"
    )


def test_a_document_that_cannot_be_read_is_refused_with_a_reason(
    site: Sites, chat: Chats, watched: Watched
) -> None:
    one = chat(site())
    watched.expect("status of 400")
    one.composer.evaluate(
        GIVE_FILES, {"kind": "drop", "files": [file("cut.pdf", "application/pdf", b"%PDF-1.7\n\xe2\xe3")]}
    )
    expect(one.page.get_by_role("alert")).to_contain_text("'cut.pdf' cannot be read: the PDF is broken")
    expect(one.page.get_by_role("alert")).to_contain_text("print it to a new PDF")
    expect(one.button("Remove cut.pdf")).to_have_count(0)
    expect(one.page.get_by_text("Reading cut.pdf…")).to_have_count(0)


def test_the_chosen_model_is_asked(site: Sites, chat: Chats) -> None:
    here = site(models=["alpha", "beta"])
    one = chat(here)
    one.choose(one.model, "beta")
    expect(one.model).to_contain_text("beta")
    one.ask("hello")
    one.done()
    assert here.engine.requests[-1]["model"] == "beta"
    one.choose(one.answers.get_by_role("button", name="More"), "Answer again with alpha")
    expect(one.answers.get_by_text("2 of 2")).to_be_visible()
    one.done()
    assert here.engine.requests[-1]["model"] == "alpha"
    one.answers.get_by_role("button", name="Answer again", exact=True).click()
    expect(one.answers.get_by_text("3 of 3")).to_be_visible()
    one.choose(one.answers.get_by_role("button", name="More"), "Details")
    details = one.page.get_by_role("dialog")
    expect(details).to_contain_text("Tokens of the answer")
    expect(details).to_contain_text("tokens a second")
    expect(details).to_contain_text("Engine")
    one.page.keyboard.press("Escape")
    expect(details).to_have_count(0)


def test_nothing_in_an_open_menu_moves_when_the_models_come(site: Sites, chat: Chats) -> None:
    one = chat(site())
    one.ask("hello")
    one.done()
    held: list[Route] = []
    one.page.route("**/api/models", lambda route: held.append(route))
    one.page.reload()
    more = one.answers.get_by_role("button", name="More")
    more.click()
    items = one.page.get_by_role("menuitem")
    expect(items.first).to_have_text("Details")
    held[0].continue_()
    expect(one.model).to_contain_text("scripted")
    expect(items.first).to_have_text("Details")
    one.page.keyboard.press("Escape")
    more.click()
    expect(items.first).to_have_text("Answer again with scripted")


@pytest.mark.parametrize("by", ["button", "key"])
def test_a_stopped_answer_goes_on_where_it_stopped(site: Sites, chat: Chats, by: str) -> None:
    here = site(replies=[{"tokens": 120, "pace_ms": 30}])
    one = chat(here)
    one.ask("count")
    expect(one.text()).to_contain_text("w5 ")
    if by == "button":
        one.button("Stop").click()
    else:
        one.page.keyboard.press("Escape")
    expect(one.answers).to_contain_text("Stopped.")
    assert here.engine.active == 0
    kept = one.text().inner_text()
    assert words(120).startswith(kept.strip())
    one.page.reload()
    expect(one.text()).to_have_text(kept)
    one.button("Continue").click()
    one.done()
    expect(one.text()).to_have_text(words(120))
    one.page.reload()
    expect(one.text()).to_have_text(words(120))
    expect(one.answers).to_have_count(1)


def test_a_failed_answer_says_why_and_goes_on(site: Sites, chat: Chats) -> None:
    # Once it has refused to continue, the engine is asked in words.
    here = site(
        replies=[
            {"tokens": 20, "times": 1, "faults": [{"at": 10, "kind": "cut"}]},
            {"times": 2, "status": 400, "message": "the engine is out of sorts"},
            {"match": "cut off", "answer": [f"w{n} " for n in range(11, 21)]},
        ]
    )
    one = chat(here)
    one.ask("count")
    expect(one.answers.get_by_role("alert")).to_contain_text("the engine is out of sorts")
    expect(one.text()).to_have_text(words(10))
    one.page.reload()
    expect(one.answers.get_by_role("alert")).to_contain_text("the engine is out of sorts")
    one.button("Continue").click()
    expect(one.text()).to_have_text(words(20))
    one.done()
    expect(one.answers.get_by_role("alert")).to_have_count(0)
    one.page.reload()
    expect(one.text()).to_have_text(words(20))


def test_an_answer_that_reached_its_length_goes_on(site: Sites, chat: Chats) -> None:
    here = site(replies=[{"tokens": 15}])
    here.call("PATCH", "/api/preferences", {"params": {"max_tokens": 10}})
    one = chat(here)
    one.ask("count")
    expect(one.answers).to_contain_text("The answer reached its length limit.")
    expect(one.text()).to_have_text(words(10))
    one.button("Continue").click()
    expect(one.text()).to_have_text(words(15))
    expect(one.answers).not_to_contain_text("length limit")
    expect(one.button("Continue")).to_have_count(0)


def test_a_question_sent_while_an_answer_streams_waits_for_it(site: Sites, chat: Chats) -> None:
    here = site(replies=[{"match": "first", "tokens": 80, "pace_ms": 30}, {"tokens": 5}])
    one = chat(here)
    one.ask("first")
    expect(one.text()).to_contain_text("w3 ")
    one.composer.fill("second")
    one.button("Send after this answer").click()
    expect(one.questions).to_have_count(2)
    expect(one.answers.nth(1)).to_contain_text("Waiting for its turn")
    one.done(0)
    expect(one.text(0)).to_have_text(words(80))
    expect(one.text(1)).to_have_text(words(5))
    assert said(here.engine.requests[-1], "user") == ["first", "second"]
    assert said(here.engine.requests[-1], "assistant")[0].strip() == words(80)


def test_edited_questions_are_branches_that_are_kept(site: Sites, chat: Chats) -> None:
    here = site()
    one = chat(here)
    for n, text in enumerate(("one", "two", "three")):
        one.ask(text)
        expect(one.text(n)).to_have_text(f"You said: {text}")
        one.done(n)

    def edit(n: int, text: str) -> None:
        one.questions.nth(n).hover()
        one.questions.nth(n).get_by_role("button", name="Edit").click()
        field = one.questions.nth(n).get_by_role("textbox", name="Edit")
        expect(field).to_be_focused()
        field.fill(text)
        field.press("Enter")

    def shown(*texts: str) -> None:
        expect(one.questions).to_have_text([re.compile(text) for text in texts])
        expect(one.answers).to_have_text([re.compile(f"You said: {text}") for text in texts])

    edit(1, "TWO")
    shown("one", "TWO")
    expect(one.questions.nth(1)).to_contain_text("2 of 2")
    assert said(here.engine.requests[-1], "user") == ["one", "TWO"]
    edit(0, "ONE")
    shown("ONE")
    expect(one.questions.nth(0)).to_contain_text("2 of 2")
    one.done()
    one.page.reload()
    shown("ONE")
    one.questions.nth(0).get_by_role("button", name="Previous version").click()
    shown("one", "TWO")
    expect(one.questions.nth(0)).to_contain_text("1 of 2")
    expect(one.questions.nth(1)).to_contain_text("2 of 2")
    one.questions.nth(1).get_by_role("button", name="Previous version").click()
    shown("one", "two", "three")
    one.page.reload()
    shown("one", "two", "three")
    expect(one.questions.nth(1)).to_contain_text("1 of 2")
    one.questions.nth(0).get_by_role("button", name="Next version").click()
    shown("ONE")


def test_an_answer_is_copied_rated_deleted_and_brought_back(site: Sites, chat: Chats) -> None:
    here = site(replies=[{"answer": "**Bold** and `code`", "reasoning": "Let me see"}])
    one = chat(here, permissions=["clipboard-read", "clipboard-write"])
    one.ask("hello")
    one.done()
    expect(one.text().locator("strong")).to_have_text("Bold")
    thinking = one.answers.get_by_text("Let me see")
    expect(thinking).to_be_hidden()
    one.answers.get_by_text("Thoughts").click()
    expect(thinking).to_be_visible()

    one.answers.get_by_role("button", name="Copy", exact=True).click()
    expect(one.page.get_by_text("Copied", exact=True)).to_be_visible()
    assert one.page.evaluate("navigator.clipboard.readText()") == "**Bold** and `code`"

    one.answers.get_by_role("button", name="Bad answer").click()
    reason = one.answers.get_by_role("textbox")
    expect(reason).to_be_focused()
    reason.fill("too short")
    one.answers.get_by_role("button", name="Save").click()
    expect(one.page.get_by_text("Noted.")).to_be_visible()
    assert stored(here)[-1]["feedback"] == {"rating": "down", "reason": "too short"}
    one.page.reload()
    expect(one.answers.get_by_role("button", name="Bad answer")).to_have_attribute("aria-pressed", "true")

    one.choose(one.answers.get_by_role("button", name="More"), "Delete")
    expect(one.answers).to_have_count(0)
    one.page.get_by_role("region", name="Notes").get_by_role("button", name="Undo").click()
    expect(one.text()).to_contain_text("Bold")
    one.questions.hover()
    one.questions.get_by_role("button", name="Delete").click()
    expect(one.questions).to_have_count(0)
    expect(one.answers).to_have_count(0)
    one.page.get_by_role("region", name="Notes").get_by_role("button", name="Undo").last.click()
    expect(one.questions).to_have_count(1)
    expect(one.text()).to_contain_text("Bold")


def test_a_prompt_of_the_library_asks_for_its_variables(site: Sites, chat: Chats) -> None:
    one = chat(site())
    one.choose("Use a prompt", "Manage prompts")
    one.button("New prompt").click()
    one.page.get_by_label("Name").fill("translate")
    one.page.get_by_label("Text", exact=True).fill("Say {{text}} in {{language=French}}.")
    one.button("Save").click()
    expect(one.button("Edit translate")).to_be_visible()
    one.page.keyboard.press("Escape")
    one.composer.fill("/tra")
    expect(one.page.get_by_role("option")).to_contain_text("/translate")
    one.composer.press("Enter")
    expect(one.page.get_by_label("language")).to_have_value("French")
    one.page.get_by_label("text", exact=True).fill("good day")
    one.button("Insert").click()
    expect(one.composer).to_have_value("Say good day in French.")
    expect(one.composer).to_be_focused()


def test_instructions_and_settings_reach_the_engine(site: Sites, chat: Chats) -> None:
    here = site()
    one = chat(here)
    one.button("Settings").click()
    one.page.get_by_role("tab", name="Instructions").click()
    one.page.get_by_label("Instructions for every conversation").fill("I live in Lyon.")
    one.button("Save").click()
    expect(one.page.get_by_text("Saved")).to_be_visible()
    one.page.get_by_role("tab", name="Generation").click()
    one.page.get_by_label("Temperature").fill("0.3")
    one.page.keyboard.press("Tab")
    one.button("Close").first.click()

    one.button("New folder").click()
    one.page.get_by_label("Name").fill("Garden")
    one.page.get_by_label("Instructions for conversations in this folder").fill("My soil is clay.")
    one.button("Save").click()
    one.choose("Options for folder Garden", "New conversation here")
    one.ask("hello")
    one.done()
    (system,) = said(here.engine.requests[-1], "system")
    assert system.endswith("I live in Lyon.\n\nMy soil is clay.")
    assert here.engine.requests[-1]["temperature"] == 0.3

    one.page.get_by_role("main").get_by_role("button", name="Instructions and settings").click()
    one.page.get_by_label("Instructions for this conversation").fill("Answer in rhyme.")
    one.page.get_by_role("dialog").get_by_text("Generation").click()
    one.page.get_by_label("Temperature").fill("1.2")
    one.page.get_by_label("Seed", exact=True).fill("7")
    one.button("Save").click()
    expect(one.page.get_by_role("dialog")).to_have_count(0)
    one.ask("again")
    expect(one.text(1)).to_have_text("You said: again")
    (system,) = said(here.engine.requests[-1], "system")
    assert system.endswith("I live in Lyon.\n\nMy soil is clay.\n\nAnswer in rhyme.")
    assert here.engine.requests[-1]["temperature"] == 1.2
    assert here.engine.requests[-1]["seed"] == 7


def test_a_temporary_chat_leaves_nothing_at_the_server(site: Sites, chat: Chats) -> None:
    here = site()
    here.call("PATCH", "/api/preferences", {"instructions": "I live in Lyon."})
    one = chat(here)
    one.page.get_by_role("link", name="Temporary chat").click()
    expect(one.page.get_by_role("heading", name="Temporary chat").first).to_be_visible()
    one.ask("my secret is xylophone")
    expect(one.text()).to_have_text("You said: my secret is xylophone")
    one.done()
    one.ask("and zeppelin")
    expect(one.text(1)).to_have_text("You said: and zeppelin")
    assert said(here.engine.requests[-1], "user") == ["my secret is xylophone", "and zeppelin"]
    assert "I live in Lyon." in said(here.engine.requests[-1], "system")[0]
    assert here.call("GET", "/api/conversations")["data"] == []
    assert here.call("GET", "/api/search?q=xylophone")["data"] == []
    for path in here.home.rglob("*"):
        if path.is_file():
            assert b"xylophone" not in path.read_bytes(), path
    assert "xylophone" not in one.page.evaluate("JSON.stringify(localStorage)")
    one.page.reload()
    expect(one.answers).to_have_count(0)


def test_a_first_hello_costs_one_short_call(site: Sites, chat: Chats, wait_until: Any) -> None:
    # The title is asked for once the answer is there.
    stall = {"at": 3, "kind": "stall", "seconds": 2}
    here = site(
        replies=[{"match": "hello", "tokens": 4, "times": 1, "faults": [stall]}], CANDIDE_TITLES="true"
    )
    one = chat(here)
    one.ask("hello")
    expect(one.text()).to_contain_text("w3")
    assert len(here.engine.requests) == 1
    one.done()
    wait_until(lambda: len(here.engine.requests) == 2)
    for request in here.engine.requests:
        said_to_it = "".join(str(message["content"]) for message in request["messages"])
        assert len(said_to_it) / 4 < 300


@pytest.mark.weights
@pytest.mark.timeout(600)
def test_a_real_model_answers_a_hello_on_the_page(
    candide_server: Callable[..., Any], chat: Chats, smol_path: Any
) -> None:
    here = candide_server("--model", str(smol_path), "--context-tokens", "2048")
    # So small a model rambles.
    here.call("PATCH", "/api/preferences", {"params": {"max_tokens": 24}})
    one = chat(here)
    expect(one.model).to_contain_text(re.compile("smol", re.IGNORECASE))
    one.ask("hello")
    expect(one.text()).to_contain_text(re.compile(r"\w+"), timeout=300_000)
    expect(one.answers).to_have_attribute("aria-busy", "false", timeout=300_000)
    expect(one.page.get_by_role("alert")).to_have_count(0)
