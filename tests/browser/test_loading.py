"""The page loads in a browser as it is served: whole, without a complaint, from this server alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from playwright.sync_api import Page, expect

if TYPE_CHECKING:
    from conftest import Site, Watched


def test_the_page_loads_under_its_policy_without_a_complaint(
    site: Callable[..., Site], visit: Callable[..., Page]
) -> None:
    page = visit(site())
    expect(page).to_have_title("Candide")
    expect(page.locator("#app > *").first).to_be_attached()
    reply = page.request.get("/")
    assert "default-src 'none'" in reply.headers["content-security-policy"]


def test_what_breaks_the_policy_is_seen(
    site: Callable[..., Site], visit: Callable[..., Page], watched: Watched
) -> None:
    page = visit(site())
    watched.expect("policy|Content Security Policy|elsewhere.example")
    page.evaluate(
        "document.body.insertAdjacentHTML('beforeend', '<img src=\"https://elsewhere.example/x\">')"
    )
    page.wait_for_timeout(200)
    assert any("policy" in text for text in watched.complaints)


def test_scripts_come_compressed_and_are_kept(site: Callable[..., Site], visit: Callable[..., Page]) -> None:
    here = site()
    seen: list[Any] = []
    page = visit(here)
    page.on("response", lambda response: seen.append(response) if "/assets/" in response.url else None)
    page.reload()
    expect(page.locator("#app > *").first).to_be_attached()
    assert seen
    for response in seen:
        assert "immutable" in response.headers["cache-control"]
    large = [r for r in seen if r.url.endswith(".js") and int(r.headers.get("content-length", 0)) > 5000]
    assert all(response.headers.get("content-encoding") == "br" for response in large)


def test_the_first_load_is_small_and_in_few_files(
    site: Callable[..., Site], visit: Callable[..., Page]
) -> None:
    here = site()
    page = visit(here)
    expect(page.get_by_label("Your message", exact=True)).to_be_editable()
    page.wait_for_timeout(1500)
    scripts: list[tuple[str, int]] = page.evaluate(
        """() => performance.getEntriesByType('resource')
          .filter(one => one.name.endsWith('.js')).map(one => [one.name, one.encodedBodySize])"""
    )
    assert len(scripts) <= 10, scripts
    assert sum(size for _, size in scripts) < 140_000, scripts
    # What is gone to later comes later; what is opened by a key is here by then.
    for part in ("Route", "SourceViewer", "Settings"):
        assert not [name for name, _ in scripts if part in name], scripts
    page.context.set_offline(True)
    page.keyboard.press("Control+k")
    expect(page.get_by_role("dialog", name="Commands").get_by_role("combobox")).to_be_focused()
