"""Trees of XML and HTML that nobody vouches for: entities are not expanded, and nothing is fetched.

lxml tells nothing of its types: they end here.
"""

from __future__ import annotations

from typing import Any

from lxml import etree as _etree  # pyright: ignore
from lxml import html as _html  # pyright: ignore

etree: Any = _etree  # pyright: ignore
html: Any = _html


def parse_xml(data: bytes) -> Any:
    """The root of an XML document; raises ValueError where it is none."""
    parser = etree.XMLParser(
        resolve_entities=False, no_network=True, load_dtd=False, remove_comments=True, remove_pis=True
    )
    try:
        return etree.fromstring(data, parser)
    except etree.XMLSyntaxError as error:
        raise ValueError(f"broken XML: {error}") from error


def parse_html(text: str) -> Any:
    """The root of an HTML document, None where there is nothing in it."""
    parser = html.HTMLParser(encoding="utf-8", remove_comments=True, remove_pis=True, no_network=True)
    try:
        return html.document_fromstring(text.encode("utf-8", "replace"), parser=parser)
    except (etree.ParserError, etree.XMLSyntaxError):
        return None


def name_of(element: Any) -> str:
    """The name of an element without its namespace, which differs between dialects; empty of a comment."""
    tag = element.tag
    return tag.rpartition("}")[2] if isinstance(tag, str) else ""


def attribute(element: Any, name: str) -> str | None:
    """An attribute by its name without namespace."""
    for key, value in element.attrib.items():
        if key.rpartition("}")[2] == name:
            return value
    return None


def child(element: Any, *path: str) -> Any:
    """The element that a path of names leads to, None where it leads to none."""
    for name in path:
        if element is None:
            return None
        element = next((one for one in element if name_of(one) == name), None)
    return element


def value(element: Any, *path: str) -> str | None:
    """The `val` of the element that a path leads to."""
    found = child(element, *path)
    return None if found is None else attribute(found, "val")
