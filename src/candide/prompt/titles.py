"""Asks for a conversation's title, and makes one line of what the model answers.

The question is put after the first answer, so the engine's cached prefix serves for all but its words.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from candide.domain.language import tell_language

TITLE_CHARS = 60
TITLE_TOKENS = 24

TITLE_INSTRUCTION = (
    "Write a title for this conversation, in the language of my message above: at most six words, no quotation "
    "marks, no full stop. Write the title only."
)

# A small model answers in the language in which it is asked, whatever it is asked for.
_IN_LANGUAGE = {
    "fr": "Écris un titre en français pour cette conversation : six mots au plus, sans guillemets ni point. "
    "N'écris que le titre.",
    "es": "Escribe un título en español para esta conversación: seis palabras como máximo, sin comillas ni punto. "
    "Escribe solo el título.",
    "de": "Schreib einen deutschen Titel für dieses Gespräch: höchstens sechs Wörter, ohne Anführungszeichen und "
    "ohne Punkt. Schreib nur den Titel.",
}


def build_title_prompt(
    messages: Sequence[dict[str, Any]], question: str, answer: str
) -> list[dict[str, Any]]:
    """The prompt of the turn, its answer, and the request for a title in the question's language."""
    instruction = _IN_LANGUAGE.get(tell_language(question), TITLE_INSTRUCTION)
    return [*messages, {"role": "assistant", "content": answer}, {"role": "user", "content": instruction}]


def clean_title(written: str, question: str) -> str:
    """One line of at most `TITLE_CHARS` characters; the question's first words where the model gave none."""
    lines = [line for line in written.strip().splitlines() if line.strip()]
    title = lines[0] if lines else ""
    title = re.sub(r"^[\s#*_>-]*(titles?|titre|título|titel)\s*:\s*", "", title, flags=re.IGNORECASE)
    title = title.strip().strip("\"'*_`#«»“”„ \t").rstrip(".").strip()
    instructions = (TITLE_INSTRUCTION, *_IN_LANGUAGE.values())
    # A very small model may say again what it was told.
    if (
        not title
        or len(title) > 2 * TITLE_CHARS
        or any(title.lower() in told.lower() for told in instructions)
    ):
        title = " ".join(question.split())
    if len(title) > TITLE_CHARS:
        title = title[: TITLE_CHARS - 1].rsplit(" ", 1)[0].rstrip(",;:") + "…"
    return title
