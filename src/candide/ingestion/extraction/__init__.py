"""Files and pages become documents: text, headings, pages and what is known of their origin.

`Extractor` is all that the rest needs. It reads in a process of its own, which a file may hang, crash or fill.
"""

from candide.ingestion.extraction.extractor import Extractor

__all__ = ["Extractor"]
