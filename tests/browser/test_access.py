"""Everyone can use the page: by keyboard alone, with a screen reader, without motion, enlarged."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from playwright.sync_api import Page, expect

if TYPE_CHECKING:
    from conftest import Site, Watched

AXE = Path(__file__).resolve().parents[2] / "web" / "node_modules" / "axe-core" / "axe.min.js"
TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22a", "wcag22aa", "best-practice"]
SIZES = {"desktop": {"width": 1280, "height": 800}, "phone": {"width": 390, "height": 844}}

RUN_AXE = """(only) => axe.run(document, {runOnly: only, resultTypes: ['violations'], elementRef: false})
  .then(({violations}) => violations.flatMap(({id, help, nodes}) =>
    nodes.map((node) => `${id}: ${help}: ${node.target.join(' ')}: ${node.html.slice(0, 160)} `
      + (node.any[0]?.message ?? node.all[0]?.message ?? node.none[0]?.message ?? ''))))"""


def check(page: Page) -> list[str]:
    """What axe-core finds in both themes; only colours differ between them."""
    if not page.evaluate("'axe' in window"):
        page.add_script_tag(path=AXE)
    found: list[str] = []
    for scheme, only in (
        ("light", {"type": "tag", "values": TAGS}),
        ("dark", {"type": "rule", "values": ["color-contrast", "link-in-text-block"]}),
    ):
        page.emulate_media(color_scheme=scheme, reduced_motion="reduce")  # pyright: ignore[reportArgumentType]
        found += [f"{scheme}: {text}" for text in page.evaluate(RUN_AXE, only)]
    return found


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.parametrize("size", SIZES)
def test_axe_finds_nothing_on_any_view(
    site: Callable[..., Site], visit: Callable[..., Page], views: Any, watched: Watched, size: str
) -> None:
    here = site(**views.SERVER)
    filled = views.fill(here)
    watched.expect("404")
    # The page's policy lets no script in, not even this test's; every other test keeps it.
    page = visit(here, viewport=SIZES[size], bypass_csp=True, has_touch=size == "phone")
    found: dict[str, list[str]] = {}
    for name, show in views.VIEWS.items():
        page.emulate_media(color_scheme="light", reduced_motion="reduce")
        page.evaluate("localStorage.clear()")
        show(page, filled)
        found[name] = check(page)
        page.unroute_all(behavior="wait")
    assert {name: texts for name, texts in found.items() if texts} == {}


def test_axe_finds_nothing_at_the_key_and_without_the_server(
    site: Callable[..., Site], visit: Callable[..., Page], watched: Watched
) -> None:
    watched.expect("401|ERR_|net::")
    here = site("--api-key", "sesame")
    page = visit(here, bypass_csp=True)
    page.locator("input[type=password]").fill("wrong")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_be_visible()
    assert check(page) == []
    page.locator("input[type=password]").fill("sesame")
    page.keyboard.press("Enter")
    # The page hears the server before it fetches what the picker shows.
    expect(page.get_by_role("button", name=re.compile(r"^Choose a model: \w"))).to_be_visible()
    page.context.set_offline(True)
    page.evaluate("dispatchEvent(new Event('offline'))")
    expect(page.locator(".banner")).to_contain_text("cannot be reached")
    assert check(page) == []


def focused(page: Page) -> str:
    """What has the focus, in words."""
    name: str = page.evaluate(
        "(e => e.tagName.toLowerCase() + (e.id ? '#' + e.id : '') + ' ' + (e.ariaLabel ?? e.innerText ?? ''))"
        "(document.activeElement)"
    )
    return name


def assert_focus_is_somewhere(page: Page) -> None:
    expect(page.locator("body:focus, html:focus")).to_have_count(0)
    expect(page.locator(":focus")).to_have_count(1)


def tab_to(page: Page, name: str, *, backwards: bool = False) -> None:
    """Press Tab until what bears a name has the focus."""
    for _ in range(60):
        page.keyboard.press("Shift+Tab" if backwards else "Tab")
        if name in focused(page):
            return
    raise AssertionError(f"Tab does not reach {name!r}; it is at {focused(page)!r}")


def test_a_conversation_needs_no_mouse(site: Callable[..., Site], visit: Callable[..., Page]) -> None:
    here = site(
        replies=[{"match": "slow", "answer": "and so on " * 3000, "pace_ms": 20}],
        models=["scripted", "other"],
    )
    page = visit(here)
    composer = page.locator("#composer")
    expect(composer).to_be_focused()

    # Before all else there is a way past the sidebar.
    tab_to(page, "Skip to the message box", backwards=True)
    expect(page.locator(".skip")).to_be_in_viewport()
    page.keyboard.press("Enter")
    expect(composer).to_be_focused()

    # Ask; the focus stays in the box.
    page.keyboard.type("When do I water?")
    page.keyboard.press("Enter")
    answer = page.locator(".answer").last
    expect(answer).to_contain_text("You said: When do I water?")
    expect(composer).to_be_focused()

    # Edit the question, which makes a branch.
    tab_to(page, "Edit", backwards=True)
    page.keyboard.press("Enter")
    expect(page.locator(".question textarea")).to_be_focused()
    page.keyboard.press("Escape")
    assert "Edit" in focused(page)
    page.keyboard.press("Enter")
    page.keyboard.press("Control+a")
    page.keyboard.type("When do I sow?")
    page.keyboard.press("Enter")
    expect(answer).to_contain_text("You said: When do I sow?")
    expect(page.locator(".question .branches")).to_contain_text("2 of 2")
    assert_focus_is_somewhere(page)

    # Switch branches; the button that was pressed is gone, its reader is not lost.
    tab_to(page, "Previous version", backwards=True)
    page.keyboard.press("Enter")
    expect(page.locator(".question .branches")).to_contain_text("1 of 2")
    assert_focus_is_somewhere(page)

    # Answer again with another model, from the menu.
    composer.focus()
    tab_to(page, "More", backwards=True)
    page.keyboard.press("Enter")
    expect(page.get_by_role("menu")).to_be_visible()
    page.keyboard.press("ArrowDown")
    assert "other" in focused(page)
    page.keyboard.press("Enter")
    expect(page.locator(".answer .branches")).to_contain_text("2 of 2")
    expect(page.locator(".answer button[aria-label=Copy]")).to_be_attached()
    assert_focus_is_somewhere(page)

    # Delete an answer, and bring it back.
    composer.focus()
    tab_to(page, "More", backwards=True)
    page.keyboard.press("Enter")
    page.keyboard.press("End")
    assert "Delete" in focused(page)
    page.keyboard.press("Enter")
    expect(page.locator(".toast")).to_contain_text("Message deleted")
    assert_focus_is_somewhere(page)
    tab_to(page, "Undo")
    page.keyboard.press("Enter")
    expect(page.locator(".answer .branches")).to_contain_text("of 2")
    assert_focus_is_somewhere(page)

    # Escape closes a menu first, then a dialog, and only then stops the answer.
    composer.focus()
    page.keyboard.type("slow")
    page.keyboard.press("Enter")
    stop = page.get_by_role("button", name="Stop", exact=True)
    expect(stop).to_be_visible()
    tab_to(page, "Choose a model")
    page.keyboard.press("Enter")
    expect(page.get_by_role("menu")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("menu")).to_have_count(0)
    assert "Choose a model" in focused(page)
    page.keyboard.press("Control+,")
    expect(page.get_by_role("dialog")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    assert "Choose a model" in focused(page)
    expect(stop).to_be_visible()
    page.keyboard.press("Escape")
    expect(stop).to_have_count(0)
    expect(page.locator(".answer").last).to_contain_text("Stopped.")
    assert_focus_is_somewhere(page)


def test_the_list_and_the_dialogs_need_no_mouse(
    site: Callable[..., Site], visit: Callable[..., Page], views: Any
) -> None:
    here = site()
    first = views.converse(here, "Beans", "hello")
    views.converse(here, "Carrots", "hello")
    page = visit(here, f"/c/{first}")
    row = page.locator("nav .rest a", has_text="Beans")
    expect(row).to_be_visible()

    # Rename, from the row's menu.
    row.focus()
    page.keyboard.press("Tab")
    assert "Options for Beans" in focused(page)
    page.keyboard.press("Enter")
    expect(page.get_by_role("menu")).to_be_visible()
    assert "Rename" in focused(page)
    page.keyboard.press("Enter")
    expect(page.get_by_label("New name")).to_be_focused()
    page.keyboard.type("Peas")
    page.keyboard.press("Enter")
    expect(page.locator("h1")).to_have_text("Peas")
    assert "Peas" in focused(page)

    # Delete the open one: its row is gone.
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.keyboard.press("End")
    page.keyboard.press("Enter")
    expect(page.locator(".toast")).to_contain_text("Conversation deleted")
    expect(page.locator("nav .rest a")).to_have_count(1)
    assert_focus_is_somewhere(page)

    # The palette: arrows, then Enter.
    page.keyboard.press("Control+k")
    box = page.get_by_role("dialog").get_by_role("combobox")
    expect(box).to_be_focused()
    page.keyboard.type("theme")
    expect(page.get_by_role("option", name="Nothing found.")).to_be_visible()
    page.keyboard.press("Control+a")
    page.keyboard.type("carr")
    expect(page.get_by_role("option", name="Carrots").first).to_be_visible()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowUp")
    page.keyboard.press("Enter")
    expect(page.locator("h1")).to_have_text("Carrots")
    expect(page.get_by_role("dialog")).to_have_count(0)
    assert_focus_is_somewhere(page)

    # The list of shortcuts, and the focus given back.
    page.locator("nav .rest a").focus()
    page.keyboard.press("?")
    expect(page.get_by_role("dialog")).to_contain_text("Ctrl")
    for _ in range(6):
        page.keyboard.press("Tab")
        inside = "document.activeElement === document.body || !!document.activeElement.closest('dialog')"
        assert page.evaluate(inside), focused(page)
    page.keyboard.press("Escape")
    assert "Carrots" in focused(page)

    # Settings: tabs by arrows.
    page.keyboard.press("Control+,")
    page.locator("#tab-general").focus()
    names: list[str] = []
    for _ in range(7):
        page.keyboard.press("ArrowDown")
        names.append(focused(page))
        expect(page.locator("[role=tab][aria-selected=true]")).to_be_focused()
    assert len(set(names)) == 7
    page.keyboard.press("ArrowUp")
    assert "data" in focused(page)
    page.keyboard.press("Tab")
    assert page.evaluate("!!document.activeElement.closest('[role=tabpanel]')")
    page.keyboard.press("Escape")
    assert "Carrots" in focused(page)

    # A prompt is deleted where it stands.
    page.keyboard.press("Control+Shift+O")
    expect(page.locator("#composer")).to_be_focused()
    page.keyboard.press("Control+,")
    page.locator("#tab-prompts").focus()
    page.keyboard.press("Enter")
    tab_to(page, "New prompt")
    page.keyboard.press("Enter")
    assert_focus_is_somewhere(page)
    expect(page.get_by_label("Name")).to_be_focused()
    page.keyboard.type("tone")
    page.keyboard.press("Tab")
    page.keyboard.type("Be kind")
    tab_to(page, "Save")
    page.keyboard.press("Enter")
    expect(page.locator("#settings-panel li")).to_contain_text("tone")
    assert_focus_is_somewhere(page)
    tab_to(page, "Delete tone")
    page.keyboard.press("Enter")
    expect(page.locator("#settings-panel li")).to_contain_text("No prompts yet.")
    assert_focus_is_somewhere(page)


def test_a_screen_reader_hears_each_paragraph_once(
    site: Callable[..., Site], visit: Callable[..., Page]
) -> None:
    paragraphs = [f"Paragraph {n} speaks of bean number {n} and of its *leaves*." for n in range(1, 6)]
    here = site(replies=[{"answer": "\n\n".join(paragraphs), "pace_ms": 15}])
    page = visit(here)
    page.evaluate("""() => {
      window.heard = []
      new MutationObserver((changes) => {
        for (const {target} of changes) {
          const element = target.nodeType === 1 ? target : target.parentElement
          const live = element?.closest('[aria-live=polite], [aria-live=assertive], [role=status], [role=alert]')
          if (live?.textContent.trim()) window.heard.push(live.textContent.trim())
        }
      }).observe(document.body, {childList: true, characterData: true, subtree: true})
    }""")
    page.locator("#composer").fill("beans?")
    page.locator("#composer").press("Enter")
    expect(page.locator(".answer button[aria-label=Copy]")).to_be_attached()
    expect(page.locator("[aria-live=polite].visually-hidden")).to_contain_text("Paragraph 5")
    heard: list[str] = page.evaluate("window.heard")
    spoken = [text for text in dict.fromkeys(heard) if "Paragraph" in text]
    everything = "\n".join(spoken)
    assert [everything.count(f"Paragraph {n} ") for n in range(1, 6)] == [1] * 5
    assert len(spoken) <= 6
    assert "*" not in everything
    assert page.locator(".view").get_attribute("aria-live") == "off"


def test_who_wants_no_motion_has_none(site: Callable[..., Site], visit: Callable[..., Page]) -> None:
    here = site(replies=[{"answer": "slow " * 500, "pace_ms": 50, "first_token_ms": 1500}])
    page = visit(here, reduced_motion="reduce")
    page.locator("#composer").fill("beans?")
    page.locator("#composer").press("Enter")
    expect(page.locator(".answer .dots")).to_be_visible()
    expect(page.locator(".answer")).to_contain_text("slow slow")
    running = "document.getAnimations().filter((one) => one.playState === 'running').length"
    page.wait_for_timeout(50)
    assert page.evaluate(running) == 0
