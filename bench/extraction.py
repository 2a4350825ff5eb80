"""How much of a document's text each extractor finds, and how fast: `make bench BENCH="extraction.py DOCUMENTS"`.

DOCUMENTS is a folder of samples in which the expected Markdown of `sources/NAME` is `groundtruth/NAME.md`, or that of
`STEM.pdf` is `expected_outputs/STEM.md`. Words are compared as multisets: recall is the part of the expected words that was
found, precision the part of the found words that was expected; Markdown's marks, links' targets and pictures count on
neither side. Every extractor that is not installed is left out, and said so. Seconds are of one process that has read
one small file of the kind before; sizes are of what an extractor adds to an installation, with its own dependencies.
"""

from __future__ import annotations

import argparse
import asyncio
import collections
import re
import statistics
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

Reader = Callable[[Path], str]
SKIPPED: list[str] = []


def candide() -> tuple[Reader, set[str]]:
    from candide.ingestion.extraction import Extractor

    loop = asyncio.new_event_loop()
    extractor = Extractor()

    def read(path: Path) -> str:
        document, _ = loop.run_until_complete(extractor.extract(path, name=path.name))
        return document.text

    kinds = {
        "pdf",
        "docx",
        "pptx",
        "xlsx",
        "xlsm",
        "xls",
        "odt",
        "epub",
        "html",
        "csv",
        "eml",
        "msg",
        "md",
        "txt",
    }
    return read, kinds


def kreuzberg_with(output_format: str) -> Callable[[], tuple[Reader, set[str]]]:
    def make() -> tuple[Reader, set[str]]:
        import kreuzberg

        config = kreuzberg.ExtractionConfig(output_format=output_format, disable_ocr=True, use_cache=False)

        def read(path: Path) -> str:
            return kreuzberg.extract_file_sync(path, config=config).content

        return read, {"pdf", "docx", "pptx", "xlsx", "xlsm", "xls", "epub", "html", "csv", "eml", "msg"}

    return make


def markitdown() -> tuple[Reader, set[str]]:
    import markitdown

    converter = markitdown.MarkItDown()

    def read(path: Path) -> str:
        return converter.convert(path).text_content

    return read, {"pdf", "docx", "pptx", "xlsx", "xlsm", "xls", "epub", "html", "csv", "msg"}


def pypdfium2() -> tuple[Reader, set[str]]:
    import pypdfium2

    def read(path: Path) -> str:
        document = pypdfium2.PdfDocument(path)
        return "\n\n".join(page.get_textpage().get_text_range() for page in document)

    return read, {"pdf"}


def pypdf() -> tuple[Reader, set[str]]:
    import pypdf

    def read(path: Path) -> str:
        return "\n\n".join(page.extract_text() for page in pypdf.PdfReader(path).pages)

    return read, {"pdf"}


def pdfplumber() -> tuple[Reader, set[str]]:
    import pdfplumber

    def read(path: Path) -> str:
        with pdfplumber.open(path) as document:
            return "\n\n".join(page.extract_text() for page in document.pages)

    return read, {"pdf"}


def playa() -> tuple[Reader, set[str]]:
    import playa

    def read(path: Path) -> str:
        with playa.open(path) as document:
            return "\n\n".join(page.extract_text() for page in document.pages)

    return read, {"pdf"}


def mammoth() -> tuple[Reader, set[str]]:
    import mammoth
    from lxml import html

    def read(path: Path) -> str:
        with path.open("rb") as file:
            value = mammoth.convert_to_html(file, ignore_empty_paragraphs=True).value
        tree = html.fromstring(f"<div>{value}</div>")
        for element in tree.iter("p", "td", "th", "li", "br", "h1", "h2", "h3", "h4"):
            element.tail = "\n" + (element.tail or "")
        return tree.text_content()

    return read, {"docx"}


def python_docx() -> tuple[Reader, set[str]]:
    import docx
    from docx.table import Table

    def read(path: Path) -> str:
        found: list[str] = []
        for block in docx.Document(str(path)).iter_inner_content():
            if isinstance(block, Table):
                found.extend(cell.text for row in block.rows for cell in row.cells)
            else:
                found.append(block.text)
        return "\n".join(found)

    return read, {"docx"}


def python_pptx() -> tuple[Reader, set[str]]:
    import pptx

    def texts(shapes: object) -> Iterator[str]:
        for shape in shapes:  # type: ignore[attr-defined]
            if shape.has_text_frame:
                yield shape.text_frame.text
            if getattr(shape, "has_table", False) and shape.has_table:
                yield from (cell.text for row in shape.table.rows for cell in row.cells)
            if hasattr(shape, "shapes"):
                yield from texts(shape.shapes)

    def read(path: Path) -> str:
        return "\n".join(
            text for slide in pptx.Presentation(str(path)).slides for text in texts(slide.shapes)
        )

    return read, {"pptx"}


def openpyxl() -> tuple[Reader, set[str]]:
    import openpyxl

    def read(path: Path) -> str:
        book = openpyxl.load_workbook(path, read_only=True, data_only=True)
        rows = (row for sheet in book.worksheets for row in sheet.iter_rows(values_only=True))
        return "\n".join(" | ".join(str(value) for value in row if value is not None) for row in rows)

    return read, {"xlsx", "xlsm"}


def calamine() -> tuple[Reader, set[str]]:
    import python_calamine

    def read(path: Path) -> str:
        book = python_calamine.CalamineWorkbook.from_path(str(path))
        rows = (row for name in book.sheet_names for row in book.get_sheet_by_name(name).to_python())
        return "\n".join(" | ".join(str(value) for value in row) for row in rows)

    return read, {"xlsx", "xlsm", "xls", "ods"}


def trafilatura() -> tuple[Reader, set[str]]:
    import trafilatura

    def read(path: Path) -> str:
        return trafilatura.extract(path.read_bytes(), include_comments=False, favor_recall=True) or ""

    return read, {"html"}


EXTRACTORS: dict[str, Callable[[], tuple[Reader, set[str]]]] = {
    "candide": candide,
    "kreuzberg": kreuzberg_with("plain"),
    "kreuzberg, Markdown": kreuzberg_with("markdown"),
    "markitdown": markitdown,
    "pypdfium2": pypdfium2,
    "pypdf": pypdf,
    "pdfplumber": pdfplumber,
    "playa-pdf": playa,
    "mammoth": mammoth,
    "python-docx": python_docx,
    "python-pptx": python_pptx,
    "openpyxl": openpyxl,
    "python-calamine": calamine,
    "trafilatura": trafilatura,
}

_TARGETS = re.compile(r"!\[[^\]]*\](\([^)]*\))?|(?<=\])\([^)\s]*\)|<!--.*?-->|https?://\S+", re.DOTALL)
_ESCAPES = re.compile(r"\\(?=[^\w\s])")
_TAGS = re.compile(r"&(amp|lt|gt|quot|nbsp|#\d+);")
_WORDS = re.compile(r"\w+")


def count_words(text: str) -> collections.Counter[str]:
    text = _TAGS.sub(" ", _ESCAPES.sub("", _TARGETS.sub(" ", text.replace("_", " "))))
    return collections.Counter(word.lower() for word in _WORDS.findall(text))


def find_samples(folder: Path) -> list[tuple[Path, Path]]:
    """Each file, and what is expected of it."""
    pairs: list[tuple[Path, Path]] = []
    for expected in sorted(folder.rglob("*.md")):
        if expected.parent.name == "groundtruth":
            source = expected.parent.parent / "sources" / expected.name.removesuffix(".md")
            candidates = [source, source.with_name(source.name + ".pdf")]
        elif expected.parent.name == "expected_outputs":
            candidates = [expected.parent.parent / f"{expected.stem}.pdf"]
        else:
            continue
        pairs += [(source, expected) for source in candidates if source.is_file()]
    return pairs


def main() -> None:
    parser = argparse.ArgumentParser(description="Compare extractors on documents with known texts.")
    parser.add_argument("documents", type=Path)
    parser.add_argument("--kind", action="append", help="only files that end so")
    parser.add_argument("--each", action="store_true", help="print each file too")
    parser.add_argument("--only", action="append", help="only extractors whose name begins so")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    samples = find_samples(arguments.documents)
    kinds = sorted({path.suffix[1:].lower() for path, _ in samples})
    print(
        f"{'kind':<6}{'extractor':<22}{'files':>6}{'failed':>8}{'recall':>8}{'precision':>11}{'s':>8}{'s, worst':>10}"
    )
    readers: dict[str, tuple[Reader, set[str]]] = {}
    for name, make in EXTRACTORS.items():
        if arguments.only and not any(name.startswith(one) for one in arguments.only):
            continue
        try:
            readers[name] = make()
        except ImportError as error:
            SKIPPED.append(f"{name} ({error})")
    for kind in kinds:
        if arguments.kind and kind not in arguments.kind:
            continue
        chosen = [(path, expected) for path, expected in samples if path.suffix[1:].lower() == kind]
        for name, (read, readable) in readers.items():
            if kind in readable:
                compare(kind, name, read, chosen, arguments.each)
    if SKIPPED:
        print("not installed:", "; ".join(SKIPPED))


def compare(kind: str, name: str, read: Reader, samples: list[tuple[Path, Path]], each: bool) -> None:
    recalls: list[float] = []
    precisions: list[float] = []
    seconds: list[float] = []
    failed = 0
    for path, expected_path in [min(samples, key=lambda pair: pair[0].stat().st_size), *samples]:
        began = time.perf_counter()
        try:
            text = read(path)
        except Exception as error:
            text = ""
            failed += 1
            if each:
                print(f"      {name}: {path.name}: {str(error).splitlines()[0][:120]}")
        seconds.append(time.perf_counter() - began)
        found = count_words(text)
        expected = count_words(expected_path.read_text(errors="replace"))
        shared = (found & expected).total()
        recalls.append(shared / expected.total() if expected else 1.0)
        precisions.append(shared / found.total() if found else 1.0)
        if each:
            print(
                f"      {name:<20} {path.name:<50} {recalls[-1]:.3f} {precisions[-1]:.3f} {seconds[-1]:.2f}"
            )
    count = len(samples)
    print(
        f"{kind:<6}{name:<22}{count:>6}{failed:>8}{statistics.mean(recalls[1:]):>8.3f}"
        f"{statistics.mean(precisions[1:]):>11.3f}{sum(seconds[1:]):>8.2f}{max(seconds[1:]):>10.2f}",
        flush=True,
    )


if __name__ == "__main__":
    main()
