"""One file's bytes become one document, in this process: `Extractor` calls it in another."""

from __future__ import annotations

from candide.domain.sources import Document
from candide.errors import UnreadableDocument
from candide.ingestion import language
from candide.ingestion.extraction import kinds
from candide.ingestion.extraction.charsets import decode
from candide.ingestion.extraction.draft import TooLong

WHAT_IS_READ = (
    "what can be read: HTML, Markdown, text, PDF, Word, PowerPoint, Excel, OpenDocument, EPUB, CSV, e-mail"
)


def read(data: bytes, *, name: str = "", media_type: str = "", url: str = "") -> tuple[Document, str]:
    """The document and the media type as found; raises UnreadableDocument, or whatever a parser raises."""
    if not data.strip(b" \t\r\n\x00"):
        raise UnreadableDocument("the file is empty")
    try:
        found = kinds.tell_media_type(data, name, media_type)
    except kinds.Unknown as error:
        raise UnreadableDocument(f"it is {error}, which is not read", hint=WHAT_IS_READ) from error
    try:
        document = _read_as(found, data, media_type, url)
    except TooLong as error:
        raise UnreadableDocument("it has more text than a document can have", hint="split it") from error
    if not document.text:
        raise UnreadableDocument(_say_empty(found), hint=_hint_empty(found))
    document.language = language.detect(document.text, document.language)
    return document, found


def _read_as(found: str, data: bytes, media_type: str, url: str) -> Document:
    # The readers are imported when they are needed: a process that reads pages only has no use for the others.
    match kinds.MEDIA_TYPES[found]:
        case "html":
            from candide.ingestion.extraction.html import read_html

            return read_html(decode(data, media_type), url)
        case "markdown":
            from candide.ingestion.extraction.markdown import read_markdown

            return read_markdown(decode(data, media_type))
        case "csv":
            from candide.ingestion.extraction.tables import read_csv

            return read_csv(decode(data, media_type))
        case "eml":
            from candide.ingestion.extraction.mail import read_mail

            return read_mail(data)
        case "text":
            from candide.ingestion.extraction.plain import read_plain

            return read_plain(decode(data, media_type))
        case "pdf":
            from candide.ingestion.extraction.pdf import read_pdf

            return read_pdf(data)
        case "docx":
            from candide.ingestion.extraction.word import read_word

            return read_word(data)
        case "pptx":
            from candide.ingestion.extraction.slides import read_slides

            return read_slides(data)
        case "sheet":
            from candide.ingestion.extraction.tables import read_sheets

            return read_sheets(data)
        case "odf":
            from candide.ingestion.extraction.open_document import read_open_document

            return read_open_document(data)
        case "epub":
            from candide.ingestion.extraction.book import read_book

            return read_book(data)
        case "msg":
            from candide.ingestion.extraction.mail import read_outlook

            return read_outlook(data)
        case "notebook":
            from candide.ingestion.extraction.notebook import read_notebook

            return read_notebook(data)


def _say_empty(found: str) -> str:
    if found == "application/pdf":
        return "the PDF has no text: its pages are pictures"
    return "there is no text in it"


def _hint_empty(found: str) -> str | None:
    if found == "application/pdf":
        return "run it through a program that recognises the text of pictures (OCR), like ocrmypdf"
    return None
