"""Every view speaks the user's language, and may run from right to left."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from playwright.sync_api import Page, expect

if TYPE_CHECKING:
    from conftest import Site, Watched

READ = """() => {
  const texts = new Set()
  const add = (text) => { const t = (text ?? '').replace(/\\s+/g, ' ').trim(); if (/\\p{L}{3}/u.test(t)) texts.add(t) }
  const theirs = '.markdown, .bubble, [lang]:not(html), .thinking, .snippet, .words, blockquote, .md-code-text, kbd, code, input, textarea'
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT)
  while (walk.nextNode()) {
    const element = walk.currentNode.parentElement
    if (!element.closest(theirs) && !element.closest('script, style')) add(walk.currentNode.data)
  }
  for (const element of document.querySelectorAll('[aria-label], [title], [placeholder], [alt]'))
    for (const name of ['aria-label', 'title', 'placeholder', 'alt']) add(element.getAttribute(name))
  return [...texts]
}"""

SAME = {
    "API", "Archive", "Archives", "Branches", "Candide", "Code", "Conversation", "Conversations", "CSV", "Data", "Details",
    "Diagram", "DOCX", "Engine", "EPUB", "Export", "General", "HTML", "Image", "Import", "Instructions", "JSON", "Markdown",
    "Message", "Messages", "Name", "name", "Notes", "ODT", "PDF", "PPTX", "Prompts", "Seed", "Site", "Sources", "Stop",
    "Suggestions", "System", "Text", "Top-p", "Type", "Version", "Versions", "XLSX", "example.org", "scripted", "other",
    "stop", "text", "Diagram: graph", "Système", "Options",
}  # fmt: skip
"""Words that are the same in two languages, and names."""

OWN = re.compile(
    r"[Bb]ean|[Gg]arden|pinned|archived|deleted one|everything|story|tone|kind|name\}|\.png|\.txt|almanac|frost|May"
    r"|qwen|Chromium|https?:|127\.0|candide|localhost|/tmp|the beans|English|Français|Español|Deutsch|Water|short|fail|When|404|שע"
)
"""What the test wrote."""


OVERLAPS = """() => {
  const boxes = [...document.querySelectorAll('button, a[href], input:not([type=file]), textarea, select')].filter((element) => {
    const style = getComputedStyle(element)
    return element.checkVisibility({visibilityProperty: true}) && style.opacity !== '0' && !element.closest('.skip')
      && !element.matches('.shade') && (element.offsetWidth > 1)
  }).map((element) => ({element, box: element.getBoundingClientRect()}))
  const wrong = []
  const say = (element) => element.outerHTML.replace(/<svg.*?<\\/svg>/gs, '').slice(0, 140)
  for (const {element, box} of boxes) {
    const isScrolled = element.closest('.view, .list, dialog, .menu, ul, .panel, main')
    const isInside = box.left >= -1 && box.right <= innerWidth + 1
    if (!isInside && !element.closest('.md-table, .md-code, pre, .markdown')) wrong.push(`outside: ${say(element)}`)
    if (!isScrolled && (box.top < -1 || box.bottom > innerHeight + 1)) wrong.push(`below: ${say(element)}`)
  }
  for (let i = 0; i < boxes.length; i++) for (let j = i + 1; j < boxes.length; j++) {
    const [one, other] = [boxes[i], boxes[j]]
    if (one.element.contains(other.element) || other.element.contains(one.element)) continue
    const layer = (element) => element.closest('dialog, [popover], .toasts, .side, .suggestions[role=listbox]')
    if (layer(one.element) !== layer(other.element)) continue
    // What is scrolled away below something else is not over it.
    if (one.element.closest('.view, .list') !== other.element.closest('.view, .list')) continue
    const width = Math.min(one.box.right, other.box.right) - Math.max(one.box.left, other.box.left)
    const height = Math.min(one.box.bottom, other.box.bottom) - Math.max(one.box.top, other.box.top)
    if (width > 2 && height > 2) wrong.push(`over each other: ${say(one.element)} and ${say(other.element)}`)
  }
  const wide = document.documentElement.scrollWidth - innerWidth
  if (wide > 0) wrong.push(`${wide} px wider than the window`)
  for (const element of document.querySelectorAll('.view, main, dialog, .list, .menu'))
    if (element.scrollWidth > element.clientWidth + 1 && getComputedStyle(element).overflowX !== 'visible')
      wrong.push(`scrolls sideways: ${say(element)}`)
  return wrong
}"""


BEGIN = """(language) => { localStorage.clear(); localStorage.setItem('candide.language', language) }"""
ENGLISH = Path(__file__).resolve().parents[2] / "web" / "src" / "i18n" / "en.ts"


@pytest.mark.slow
@pytest.mark.timeout(500)
def test_every_view_is_translated_and_mirrored(
    site: Callable[..., Site], visit: Callable[..., Page], watched: Watched, views: Any
) -> None:
    """What is the same in three languages is in none of them, and what is English in one is not translated."""
    here = site(**views.SERVER)
    filled = views.fill(here)
    watched.expect("404")
    page = visit(here, reduced_motion="reduce")
    english = set(
        re.findall(r"""(?:: |^    )'([^'{]+)',$""", ENGLISH.read_text(encoding="utf-8"), re.MULTILINE)
    )
    assert len(english) > 150
    texts: dict[str, dict[str, set[str]]] = {}
    wrong: list[str] = []
    for name, show in views.VIEWS.items():
        for language in ("fr", "es", "de"):
            page.evaluate(BEGIN, language)
            show(page, filled)
            expect(page.locator("html")).to_have_attribute("lang", language)
            read = {text for text in page.evaluate(READ) if text not in SAME and not OWN.search(text)}
            texts.setdefault(name, {})[language] = read
            wrong += [f"{name}, {language}: {text}" for text in read & english]
            if language == "de":  # the longest words
                wrong += [f"{name}: {problem}" for problem in page.evaluate(OVERLAPS)]
                page.evaluate("() => { document.documentElement.dir = 'rtl' }")
                wrong += [f"{name}, mirrored: {problem}" for problem in page.evaluate(OVERLAPS)]
            page.unroute_all(behavior="wait")
        same = set.intersection(*texts[name].values())
        wrong += [f"{name}, in every language: {text}" for text in same]
    assert not wrong, "\n".join(sorted(set(wrong)))


def test_dates_and_numbers_are_the_languages_own(
    site: Callable[..., Site], visit: Callable[..., Page], views: Any
) -> None:
    here = site(replies=[{"tokens": 1200}])
    made = views.converse(here, "Beans", "hello")
    page = visit(here, f"/c/{made}", locale="de-DE", timezone_id="Europe/Berlin")
    expect(page.locator("html")).to_have_attribute("lang", "de")
    page.locator(".answer button:has(svg.lucide-ellipsis)").click()
    page.locator("[role=menu] button:has(svg.lucide-info)").click()
    details = page.get_by_role("dialog")
    expect(details).to_contain_text("1.200")
    months = "Januar|Februar|März|April|Mai|Juni|Juli|August|September|Oktober|November|Dezember"
    expect(details).to_contain_text(re.compile(rf"\d+\. ({months}) \d{{4}}"))


def test_the_address_can_ask_for_right_to_left(site: Callable[..., Site], visit: Callable[..., Page]) -> None:
    page = visit(site(), "/?dir=rtl")
    expect(page.locator("html")).to_have_attribute("dir", "rtl")
    side, main = page.locator("nav.sidebar").bounding_box(), page.locator("main").bounding_box()
    assert side
    assert main
    assert side["x"] > main["x"]
    page.locator(".model-picker").click()
    expect(page.get_by_role("menu")).to_be_visible()
    assert page.evaluate(OVERLAPS) == []


def test_what_is_written_from_right_to_left_runs_so(
    site: Callable[..., Site], visit: Callable[..., Page]
) -> None:
    here = site(replies=[{"answer": "השעועית צריכה מים.\n\n- פעם בשבוע\n\nAnd in English."}])
    page = visit(here)
    page.locator("#composer").fill("متى أسقي الفاصوليا؟")
    assert page.locator("#composer").evaluate("(e) => getComputedStyle(e).direction") == "rtl"
    page.locator("#composer").press("Enter")
    expect(page.locator(".answer")).to_contain_text("English")
    direction = "(e) => getComputedStyle(e).direction"
    assert page.locator(".bubble").evaluate(direction) == "rtl"
    paragraphs = page.locator(".answer .markdown p")
    assert paragraphs.first.evaluate(direction) == "rtl"
    assert paragraphs.last.evaluate(direction) == "ltr"
