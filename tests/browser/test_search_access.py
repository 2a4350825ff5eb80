"""What searches added to the page can be used by everyone: axe-core in both themes, on a desk and a phone; the keyboard."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from playwright.sync_api import Page, expect

if TYPE_CHECKING:
    from conftest import Site

HERE = Path(__file__).resolve().parent
SIZES = {"desktop": {"width": 1280, "height": 800}, "phone": {"width": 390, "height": 844}}
BEANS = (
    "# Runner beans\n\nRunner beans are sown in the second half of May, when the soil has twelve degrees.\n"
)
ANSWER = "Runner beans are sown in the second half of May [1]. Every gardener in Lisbon owns 900 elephants."


def _load(name: str) -> Any:
    spec = importlib.util.spec_from_file_location(f"{name}_of_search", HERE / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


search = _load("test_search")
access = _load("test_access")


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.parametrize("size", SIZES)
def test_axe_finds_nothing_where_sources_are_shown(
    site: Callable[..., Site], visit: Callable[..., Page], size: str
) -> None:
    here = site(replies=[{"answer": ANSWER}], CANDIDE_EMBEDDINGS="false")
    library = search.make_library(here, "Garden", beans=BEANS)
    search.add_file(here, library, "broken.pdf", b"%PDF-1.4 nonsense")
    page = visit(here, viewport=SIZES[size], bypass_csp=True)
    found: dict[str, list[str]] = {}

    def check(name: str) -> None:
        # Looked at as it stands, without what is still fading.
        page.wait_for_timeout(100)
        found[name] = access.check(page)
        page.emulate_media(color_scheme="light")

    page.get_by_role("button", name="Where to look for answers").click()
    page.get_by_role("menuitemcheckbox", name="Garden").click()
    check("switch")
    page.keyboard.press("Escape")
    page.get_by_label("Your message", exact=True).fill("When are runner beans sown?")
    page.keyboard.press("Enter")
    mark = page.get_by_role("button", name="Source 1: Runner beans").first
    expect(page.locator(".md-unsupported")).to_be_visible()
    check("answer")
    mark.hover()
    expect(page.get_by_role("tooltip")).to_be_visible()
    check("passage")
    mark.click()
    expect(page.locator("dialog mark.quote")).to_be_visible()
    check("source")
    page.goto("/libraries")
    expect(page.get_by_role("link", name=re.compile("^Garden"))).to_be_visible()
    check("libraries")
    page.goto(f"/libraries/{library}")
    expect(page.get_by_text("broken.pdf").first).to_be_visible()
    page.get_by_label(re.compile("^Addresses of pages")).fill("https://beans.example/")
    page.get_by_label("What it is").select_option("site")
    page.get_by_role("button", name=re.compile("^Remove Runner beans")).click()
    check("library")
    page.goto("/search?query=beans&language=en")
    expect(page.locator("main ol mark").first).to_be_visible()
    check("search")
    assert {name: texts for name, texts in found.items() if texts} == {}


def test_on_a_phone_a_source_lies_over_the_page_and_gives_the_focus_back(
    site: Callable[..., Site], visit: Callable[..., Page]
) -> None:
    here = site(replies=[{"answer": ANSWER}], CANDIDE_EMBEDDINGS="false")
    search.make_library(here, "Garden", beans=BEANS)
    page = visit(here, "/search?query=beans", viewport=SIZES["phone"])
    title = page.get_by_role("button", name="Runner beans")
    title.focus()
    page.keyboard.press("Enter")
    viewer = page.get_by_role("dialog", name="Runner beans")
    expect(viewer.locator("mark").first).to_be_visible()
    # Only what lies on top can be reached.
    for _ in range(6):
        page.keyboard.press("Tab")
        assert page.evaluate(
            "document.activeElement === document.body || !!document.activeElement.closest('dialog')"
        )
    page.keyboard.press("Escape")
    expect(viewer).to_have_count(0)
    expect(title).to_be_focused()
    assert page.evaluate("document.documentElement.scrollWidth") <= SIZES["phone"]["width"]
