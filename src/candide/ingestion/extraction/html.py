"""HTML: the main text of a page, or the whole of a document, without what is hidden from who looks at it.

Trafilatura finds the main text among menus, advertisements and comments, and says who published it and when. A page
without such things around its text (a document that was saved as HTML, a chapter of a book) is taken whole.
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from candide.domain.addresses import find_site
from candide.domain.sources import Document
from candide.ingestion.extraction.draft import Draft, clean, join_spaces
from candide.ingestion.extraction.markup import render
from candide.ingestion.extraction.trees import etree, parse_html

MAX_DEPTH = 250
"""Of elements within each other; libxml2 stops there too, where it is not told otherwise."""
MIN_MAIN = 0.2
"""Main text that is a smaller part of the visible text than this was not found: it is taken whole instead."""
MIN_MAIN_CHARACTERS = 200
MAX_PAGE = 1_000_000
"""Characters of a page's HTML; the main text of a longer one is not looked for, which would take minutes."""

_AROUND = ("nav", "aside", "footer", "header", "form", "menu")
_AROUND_ROLES = frozenset(
    {"navigation", "complementary", "banner", "contentinfo", "search", "dialog", "alertdialog"}
)


def read_html(text: str, url: str = "") -> Document:
    """The document of a page's HTML; `url` is where it was found, which helps to tell site and date.

    A page of which nothing can be read gives a document without text.
    """
    tree = parse(text)
    if tree is None:
        return Document(text="")
    is_long = len(text) > MAX_PAGE
    facts = _find_facts(tree, url, is_long)
    remove_hidden(tree)
    whole = _render(_without_surroundings(tree))
    draft = whole
    if not is_long and _has_surroundings(tree):
        main = _render_main(tree, url, str(facts["title"]))
        least = min(MIN_MAIN_CHARACTERS, whole.length // 2)
        if main is not None and main.length >= max(least, int(whole.length * MIN_MAIN)):
            draft = main
    return draft.document(**facts)


def read_fragment(text: str, draft: Draft) -> None:
    """Write a piece of HTML of a document (a chapter, the body of a mail) into a draft, whole."""
    tree = parse(text)
    if tree is not None:
        remove_hidden(tree)
        render(_body(tree), draft)


def parse(text: str) -> Any:
    """The tree of a document, or None where there is nothing in it."""
    # A declaration of the charset that the text had as bytes would be an error in a string.
    text = re.sub(r"^\s*<\?xml[^>]*\?>", "", text[:1000]) + text[1000:]
    text = text.replace("\x00", "")
    if not text.strip():
        return None
    return parse_html(text)


def _body(tree: Any) -> Any:
    body = tree.find("body")
    return tree if body is None else body


def _render(tree: Any) -> Draft:
    draft = Draft()
    render(tree, draft)
    return draft


def _has_surroundings(tree: Any) -> bool:
    """Whether there is something around the text: menus, asides, or more links than a text has."""
    body = _body(tree)
    if next(body.iter(*_AROUND), None) is not None:
        return True
    if any(element.get("role") in _AROUND_ROLES for element in body.iter("div", "ul", "section")):
        return True
    linked = sum(len(join_spaces(link.text_content())) for link in body.iter("a"))
    return linked * 3 > len(join_spaces(body.text_content()))


def _without_surroundings(tree: Any) -> Any:
    """A copy of the body without what stands around a text, unless that is all there is."""
    body = copy.deepcopy(_body(tree))
    doomed = [
        element
        for element in body.iter(etree.Element)
        if (element.tag in ("nav", "aside", "form", "menu") or element.get("role") in _AROUND_ROLES)
        or (
            element.tag in ("header", "footer")
            and not any(a.tag in ("article", "main", "section") for a in element.iterancestors())
        )
    ]
    left = len(join_spaces(body.text_content()))
    for element in doomed:
        # A form or a header around the whole page is the page.
        if element.getparent() is not None and len(join_spaces(element.text_content())) * 2 < left:
            element.drop_tree()
    return body


def _render_main(tree: Any, url: str, title: str) -> Draft | None:
    """The main text under the page's title, None where nothing of the kind is found."""
    from trafilatura import bare_extraction

    try:
        found: Any = bare_extraction(
            copy.deepcopy(tree),
            url=url or None,
            include_comments=False,
            include_tables=True,
            include_formatting=False,
            favor_recall=True,
            with_metadata=False,
        )
    except Exception:  # noqa: BLE001 - heuristics over what anyone may have written; the whole page is read instead
        return None
    if found is None or found.body is None or not "".join(found.body.itertext()).strip():
        return None
    draft = Draft()
    # The main text seldom has the headline, under which its passages stand.
    if title and not any(
        join_spaces(clean("".join(head.itertext()))) == title for head in found.body.iter("head")
    ):
        draft.heading(1, title)
    render(found.body, draft)
    return draft


_NEVER_SEEN = frozenset({
    "script", "style", "template", "noscript", "iframe", "object", "embed", "canvas", "svg", "textarea", "dialog", "datalist",
})  # fmt: skip
_HIDING = re.compile(
    r"(?:^|;)\s*(?:display\s*:\s*none|visibility\s*:\s*(?:hidden|collapse)|opacity\s*:\s*0*\.?0+\s*(?:;|$|!)"
    r"|font-size\s*:\s*0*\.?0+(?:px|pt|em|rem|%)?\s*(?:;|$|!)|content-visibility\s*:\s*hidden"
    r"|text-indent\s*:\s*-\d{3,}|(?:left|top|right|bottom)\s*:\s*-\d{4,}|clip\s*:\s*rect\(\s*[01](?:px)?[\s,]+[01]"
    r"|clip-path\s*:\s*(?:inset\(\s*(?:50|100)%|circle\(\s*0)|transform\s*:\s*scale\(\s*0\s*[,)])",
    re.IGNORECASE,
)
_NO_SIZE = re.compile(r"(?:^|;)\s*(?:max-)?(?:height|width)\s*:\s*[01](?:px)?\s*(?:;|$|!)", re.IGNORECASE)
_CLIPPED = re.compile(r"overflow\s*:\s*hidden", re.IGNORECASE)
_COLOR = re.compile(r"(?:^|;)\s*color\s*:\s*([^;!]+)", re.IGNORECASE)
_BACKGROUND = re.compile(r"(?:^|;)\s*background(?:-color)?\s*:\s*([^;!]+)", re.IGNORECASE)
_RGB = re.compile(r"rgba?\(\s*(\d+)[\s,]+(\d+)[\s,]+(\d+)(?:[\s,/]+([\d.]+%?))?\s*\)", re.IGNORECASE)
_NAMED_COLORS = {
    "white": "ffffff",
    "black": "000000",
    "snow": "fffafa",
    "ivory": "fffff0",
    "ghostwhite": "f8f8ff",
}


def remove_hidden(tree: Any) -> None:
    """Take out of a tree what nobody sees who looks at it: scripts, comments, and what attributes or inline styles hide."""
    doomed: list[Any] = []
    for element in tree.iter():
        if not isinstance(element.tag, str):
            doomed.append(element)
        elif element.tag in ("html", "body", "head") or element.getparent() is None:
            continue
        elif element.tag in _NEVER_SEEN or _is_hidden(element):
            doomed.append(element)
    for element in doomed:
        if element.getparent() is not None:
            element.drop_tree()


def _is_hidden(element: Any) -> bool:
    if element.get("hidden") is not None and element.get("hidden") != "until-found":
        return True
    if element.tag == "input" and element.get("type", "").lower() == "hidden":
        return True
    color = element.get("color") if element.tag == "font" else None
    style = element.get("style")
    if style is None and color is None:
        return False
    style = re.sub(r"/\*.*?\*/", "", style or "", flags=re.DOTALL)
    if _HIDING.search(style) or (_CLIPPED.search(style) and _NO_SIZE.search(style)):
        return True
    declared = _COLOR.search(style)
    if declared:
        color = declared.group(1)
    return color is not None and _is_unseen_color(element, color)


def _is_unseen_color(element: Any, color: str) -> bool:
    """Whether text of this colour stands on the same; without a known background, on white."""
    wanted = _parse_color(color)
    if wanted is None:
        return False
    if wanted == "transparent":
        return True
    for ancestor in (element, *element.iterancestors()):
        style = ancestor.get("style") or ""
        found = _BACKGROUND.search(style)
        background = found.group(1) if found else ancestor.get("bgcolor")
        if background:
            parsed = _parse_color(background.split()[0] if "(" not in background else background)
            if parsed != "transparent":
                return parsed is not None and parsed == wanted
    # White on a background that a style sheet gives would be seen: only where no class could give one.
    return wanted == "ffffff" and not any(one.get("class") for one in (element, *element.iterancestors()))


def _parse_color(value: str) -> str | None:
    value = value.strip().lower()
    if value == "transparent":
        return value
    if value in _NAMED_COLORS:
        return _NAMED_COLORS[value]
    if re.fullmatch(r"#[0-9a-f]{3,4}", value):
        return "".join(digit * 2 for digit in value[1:4])
    if re.fullmatch(r"#[0-9a-f]{6}(?:[0-9a-f]{2})?", value):
        return value[1:7]
    match = _RGB.match(value)
    if match:
        alpha = match.group(4)
        if alpha is not None and float(alpha.rstrip("%")) == 0:
            return "transparent"
        return "".join(f"{min(int(part), 255):02x}" for part in match.groups()[:3])
    return None


def _find_facts(tree: Any, url: str, is_long: bool) -> dict[str, Any]:
    """Title, author, site, language as declared, and publication date, by Document's names."""
    from trafilatura.metadata import extract_metadata

    facts: dict[str, Any] = {"language": (tree.get("lang") or "").split("-")[0].strip().lower()[:3]}
    try:
        found: Any = extract_metadata(
            _copy_head(tree) if is_long else copy.deepcopy(tree),
            default_url=url or None,
            date_config={
                "original_date": True,
                "extensive_search": False,
                "max_date": datetime.now(UTC).strftime("%Y-%m-%d"),
                "url": url or None,
            },
        )
    except Exception:  # noqa: BLE001 - see _render_main
        found = None
    title = author = site = ""
    published: float | None = None
    if found is not None:
        title, author, site = found.title or "", found.author or "", found.sitename or ""
        published = parse_date(found.date or "")
    exact = next((date for date in map(parse_date, _stated_dates(tree)) if date is not None), None)
    if exact is not None and (published is None or abs(exact - published) < 36 * 3600):
        published = exact
    first = tree.find(".//title")
    facts["title"] = _tidy(title or (first.text_content() if first is not None else ""))
    facts["author"] = _tidy(author)
    # Its name is for readers; `site:` and every filter mean the host.
    facts["site"] = find_site(url) or _tidy(site)
    facts["published"] = published
    return facts


def _copy_head(tree: Any) -> Any:
    page = etree.Element("html")
    head = tree.find("head")
    if head is not None:
        page.append(copy.deepcopy(head))
    etree.SubElement(page, "body")
    return page


def _tidy(text: str) -> str:
    return join_spaces(clean(text))[:500]


def _stated_dates(tree: Any) -> Iterator[str]:
    """Publication dates that the page states for machines, the most dependable first."""
    for script in tree.iter("script"):
        if "ld+json" in (script.get("type") or ""):
            match = re.search(r'"datePublished"\s*:\s*("(?:[^"\\]|\\.){4,60}")', script.text or "")
            if match:
                yield str(json.loads(match.group(1)))
    for meta in tree.iter("meta"):
        name = (meta.get("property") or meta.get("name") or meta.get("itemprop") or "").lower()
        if name in (
            "article:published_time",
            "og:article:published_time",
            "datepublished",
            "date",
            "dc.date",
            "dc.date.issued",
        ):
            yield meta.get("content") or ""
    for element in tree.iter("time"):
        if element.get("pubdate") is not None or (element.get("itemprop") or "") == "datePublished":
            yield element.get("datetime") or ""


def parse_date(text: str) -> float | None:
    """Seconds since 1970 of an ISO 8601 date, taken for UTC where it names no zone; None for what is none."""
    try:
        date = datetime.fromisoformat(text.strip())
    except ValueError:
        return None
    if date.tzinfo is None:
        date = date.replace(tzinfo=UTC)
    try:
        return date.timestamp()
    except (ValueError, OverflowError):
        return None
