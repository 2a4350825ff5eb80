"""Dates as people write them behind `after:` and `before:`, in French and English.

A year, a month or a day is its first moment, UTC: `after:2024` begins with 1 January 2024, `before:2024` ends there.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from candide.retrieval.words import fold

_MONTHS = {
    name: month
    for month, names in enumerate(
        (
            "january janvier jan janv", "february fevrier feb fevr fev", "march mars mar", "april avril apr avr",
            "may mai", "june juin jun", "july juillet jul juil", "august aout aug", "september septembre sep sept",
            "october octobre oct", "november novembre nov", "december decembre dec",
        ),
        1,
    )
    for name in names.split()
}  # fmt: skip
_DAYS_AGO = {"today": 0, "aujourd'hui": 0, "aujourdhui": 0, "yesterday": 1, "hier": 1, "avant-hier": 2}
_SPANS = {
    "week": 7, "semaine": 7, "month": 30, "mois": 30, "year": 365, "an": 365, "annee": 365, "day": 1, "jour": 1,
}  # fmt: skip
_NUMERIC = (
    re.compile(r"(?P<y>\d{4})(?:[-/.](?P<m>\d{1,2})(?:[-/.](?P<d>\d{1,2}))?)?"),
    re.compile(r"(?:(?P<d>\d{1,2})[-/.])?(?P<m>\d{1,2})[-/.](?P<y>\d{4})"),
)
_MONTH = rf"(?P<month>{'|'.join(sorted(_MONTHS, key=len, reverse=True))})\.?"
_WRITTEN = (
    re.compile(rf"(?:(?P<d>\d{{1,2}})(?:er|st|nd|rd|th)?[ -])?{_MONTH}[ -](?P<y>\d{{4}})"),
    re.compile(rf"{_MONTH}[ -](?P<d>\d{{1,2}})(?:st|nd|rd|th)?,?[ -](?P<y>\d{{4}})"),
)
_AGO = re.compile(
    r"(?:(?:last|past|this|la|le|l'|cette|ce)\s?)?(?P<n>\d{1,3})?\s?"
    r"(?P<unit>days?|weeks?|months?|years?|jours?|semaines?|mois|ans?|annees?|d|w|m|y|j|s|a)"
    r"(?:\s(?:derniere?|passee?|ago))?"
)
_SHORT_UNITS = {"d": 1, "j": 1, "w": 7, "s": 7, "m": 30, "y": 365, "a": 365}


def read_date(text: str, now: float) -> float | None:
    """The first moment of the date that the text is, in seconds since 1970; None when it is none.

    `now` is what relative dates, like `yesterday`, `hier`, `7 days` or `semaine dernière`, are counted from.
    """
    folded = " ".join(fold(text.replace("’", "'")).split())
    today = datetime.fromtimestamp(now, UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    if folded in _DAYS_AGO:
        return (today - timedelta(days=_DAYS_AGO[folded])).timestamp()
    for pattern in (*_NUMERIC, *_WRITTEN):
        if match := pattern.fullmatch(folded):
            parts = match.groupdict()
            month = _MONTHS[parts["month"]] if "month" in parts else int(parts["m"] or 1)
            try:
                return datetime(int(parts["y"]), month, int(parts["d"] or 1), tzinfo=UTC).timestamp()
            except ValueError:  # no such day
                return None
    if match := _AGO.fullmatch(folded):
        unit = match["unit"]
        if len(unit) == 1 and not match["n"]:
            return None
        days = _SHORT_UNITS.get(unit) or _SPANS.get(unit) or _SPANS[unit.rstrip("s")]
        return (today - timedelta(days=days * int(match["n"] or 1))).timestamp()
    return None


def read_date_before_words(words: Sequence[str], now: float) -> tuple[float | None, int]:
    """The date that as many as possible of the first four words are, and how many that was."""
    for count in range(min(4, len(words)), 0, -1):
        moment = read_date(" ".join(words[:count]), now)
        if moment is not None:
            return moment, count
    return None, 0
