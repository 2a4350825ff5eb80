"""Documents of office programs, PDFs and books, by kreuzberg."""

from __future__ import annotations

from typing import Any

from candide.domain.sources import Document
from candide.errors import UnreadableDocument
from candide.ingestion.extraction.draft import Draft
from candide.ingestion.extraction.html import parse, parse_date
from candide.ingestion.extraction.markup import render


def read_office(data: bytes, media_type: str) -> Document:
    import kreuzberg

    config = kreuzberg.ExtractionConfig(
        output_format="plain" if media_type == "application/pdf" else "html",
        disable_ocr=True,  # pyright: ignore[reportCallIssue] - its stub lacks it
        use_cache=False,
        pages=kreuzberg.PageConfig(extract_pages=True),
    )
    try:
        result = kreuzberg.extract_bytes_sync(data, media_type, config=config)
    except kreuzberg.KreuzbergError as error:
        if "password" in str(error):
            raise UnreadableDocument(
                "the PDF is locked with a password", hint="save it without one"
            ) from error
        raise UnreadableDocument(f"it is broken: {str(error)[:200]}") from error
    draft = Draft()
    if media_type == "application/pdf":
        for page in result.pages or []:
            draft.page()
            for block in page["content"].split("\n\n"):
                draft.paragraph(block)
    else:
        tree = parse(result.content)
        if tree is not None:
            render(tree, draft)
    metadata: Any = result.metadata
    authors: list[str] = metadata.get("authors") or []
    return draft.document(
        title=metadata.get("title") or metadata.get("subject") or "",
        author=", ".join(authors),
        published=parse_date(metadata.get("created_at") or ""),
    )
