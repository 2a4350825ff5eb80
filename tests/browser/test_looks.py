"""The page at every size, in the theme that was chosen, and as an application of its own."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from playwright.sync_api import Page, expect

if TYPE_CHECKING:
    from conftest import Site, Watched

SIDEWAYS = """() => {
  const wrong = []
  const wide = document.documentElement.scrollWidth - innerWidth
  if (wide > 0) wrong.push(`the page is ${wide} px too wide`)
  for (const element of document.querySelectorAll('.view, main, dialog, dialog .inside, .menu, .list, .panel')) {
    const more = element.scrollWidth - element.clientWidth
    if (more > 1) wrong.push(`${element.className || element.tagName} is ${more} px too wide`)
  }
  // What lies beyond the edge and cannot be scrolled to is lost; code and tables have their own scrolling.
  for (const element of document.querySelectorAll('button, a[href], input, textarea, select, h1, h2, p')) {
    if (!element.checkVisibility() || element.closest('.markdown, .visually-hidden, .skip, pre')) continue
    const {left, right, width} = element.getBoundingClientRect()
    if (width > 1 && !element.matches('.visually-hidden, .shade') && (left < -1 || right > innerWidth + 1))
      wrong.push(`beyond the edge: ${element.outerHTML.slice(0, 140)}`)
  }
  return wrong
}"""

SMALL = """() => [...document.querySelectorAll('button, a[href], input:not([type=file]), select, summary, [role=option]')]
  .filter((element) => element.checkVisibility({visibilityProperty: true}) && !element.closest('.markdown p, .markdown li, p, .skip')
    && !element.matches('.visually-hidden, .skip, .markdown a, input[type=checkbox], input[type=range]'))
  .map((element) => [element, element.getBoundingClientRect()])
  .filter(([, {width, height}]) => width > 0 && (width < 23.9 || height < 23.9))
  .map(([element, {width, height}]) => `${Math.round(width)}x${Math.round(height)}: ${element.outerHTML.slice(0, 120)}`)"""


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_nothing_is_lost_in_a_window_of_320_pixels(
    site: Callable[..., Site], visit: Callable[..., Page], watched: Watched, views: Any
) -> None:
    """WCAG 2.2, 1.4.10 (reflow: 1280 pixels enlarged four times) and 2.5.8 (targets of 24 pixels)."""
    here = site(**views.SERVER)
    filled = views.fill(here)
    watched.expect("404")
    page = visit(here, viewport={"width": 320, "height": 640}, has_touch=True, reduced_motion="reduce")
    wrong: dict[str, list[str]] = {}
    for name, show in views.VIEWS.items():
        page.evaluate("localStorage.clear()")
        show(page, filled)
        wrong[name] = [*page.evaluate(SIDEWAYS), *page.evaluate(SMALL)]
        page.unroute_all(behavior="wait")
    assert {name: texts for name, texts in wrong.items() if texts} == {}


def test_a_large_screen_is_used_with_measure(
    site: Callable[..., Site], visit: Callable[..., Page], views: Any
) -> None:
    here = site(replies=views.REPLIES)
    made = views.converse(here, "Growing beans", "everything")
    page = visit(here, f"/c/{made}", viewport={"width": 3840, "height": 2160})
    expect(page.locator(".answer table").first).to_be_visible()
    answer, composer = page.locator(".answer").bounding_box(), page.locator(".composer").bounding_box()
    side = page.locator("nav.sidebar").bounding_box()
    assert answer
    assert composer
    assert side
    assert page.evaluate("parseFloat(getComputedStyle(document.documentElement).fontSize)") > 16
    # Lines that can be read, in the middle of what the sidebar leaves, above the box they belong to.
    assert answer["width"] < 1200
    middle = side["width"] + (3840 - side["width"]) / 2
    for box in (answer, composer):
        assert abs(box["x"] + box["width"] / 2 - middle) < 20
    assert composer["y"] > 1900
    assert page.evaluate(SIDEWAYS) == []


def test_the_chosen_theme_is_there_from_the_first_picture(
    site: Callable[..., Site], visit: Callable[..., Page]
) -> None:
    page = visit(site(), color_scheme="light")
    page.keyboard.press("Control+,")
    page.get_by_label("Theme").select_option("dark")
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    page.keyboard.press("Escape")
    ground = "getComputedStyle(document.documentElement).backgroundColor"
    dark = page.evaluate(ground)
    # Every frame from the first one on which there is anything to see.
    page.add_init_script("""(() => {
      window.grounds = new Set()
      const look = () => {
        if (document.body?.querySelector('#app > *'))
          window.grounds.add(getComputedStyle(document.documentElement).backgroundColor)
        requestAnimationFrame(look)
      }
      look()
    })()""")
    page.reload()
    expect(page.locator("#composer")).to_be_visible()
    assert page.evaluate("[...grounds]") == [dark]
    page.keyboard.press("Control+k")
    page.get_by_role("dialog").get_by_role("combobox").fill("as the system")
    page.keyboard.press("Enter")
    expect(page.locator("html")).to_have_attribute("data-theme", "system")
    assert page.evaluate(ground) != dark
    page.emulate_media(color_scheme="dark")
    assert page.evaluate(ground) == dark


def test_the_page_can_be_installed(site: Callable[..., Site], visit: Callable[..., Page]) -> None:
    page = visit(site())
    session = page.context.new_cdp_session(page)
    errors = [
        error["errorId"] for error in session.send("Page.getInstallabilityErrors")["installabilityErrors"]
    ]
    assert [error for error in errors if error != "in-incognito"] == []  # as every page of a test is
    read = session.send("Page.getAppManifest")
    assert read["errors"] == []
    manifest = json.loads(read["data"])
    assert manifest["name"] == "Candide"
    assert {"192x192", "512x512"} <= {icon["sizes"] for icon in manifest["icons"]}
    assert any(icon.get("purpose") == "maskable" for icon in manifest["icons"])
    for icon in manifest["icons"]:
        reply = page.request.get(icon["src"])
        assert reply.ok
        assert reply.headers["content-type"] == icon["type"]
        if icon["type"] == "image/png":
            width, height = struct.unpack(">II", reply.body()[16:24])
            assert f"{width}x{height}" == icon["sizes"]
    for shortcut in manifest["shortcuts"]:
        assert page.request.get(shortcut["url"]).ok
