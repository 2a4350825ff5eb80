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
