"""Numbers and dates as they are said: in figures of any country's writing, words, percent, ordinals, centuries.

What a numeral says is a set of keys of which one must be found: "1,234" is 1234 to one reader and 1.234 to another.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal

_SPACE = " \u00a0\u202f\u2009"
_FIGURE = re.compile(r"\d")
_FIGURE_RUN = re.compile(r"\d+")
_FIGURES = re.compile(
    rf"(?<![^\W_])(?<![^\W\d_][-‑–])(?:\d{{1,3}}(?:[{_SPACE}'’]\d{{3}})+(?!\d)(?:[.,]\d+)?|\d+(?:[.,]\d+)*)"
)
_PERCENT = re.compile(
    r"\s*(?:%|percent\b|per cent\b|pour ?cent\b|por ciento\b|prozent\b|per cento\b)", re.IGNORECASE
)
_SCALE = re.compile(
    r"\s*-?(?:(mille|thousand|mil|tausend|k)|(millions?|millones|millón|mio|millionen|milioni)|(milliards?|mrd|milliarden|billion|bn|billions)"
    r"|(billionen|billones|trillions?))\b",
    re.IGNORECASE,
)
_SCALES = (10**3, 10**6, 10**9, 10**12)
_ROMAN = re.compile(
    r"(?<![\w.])(?=[IVXLCDM])(M{0,3})(CM|CD|D?C{0,3})(XC|XL|L?X{0,3})(IX|IV|V?I{0,3})(er|re|e|ᵉ|ème|eme|º|th)?(?![\w])"
)
_CENTURY = re.compile(r"\s*(?:siècles?|century|centuries|siglos?|jahrhunderts?|secolo|s\.)", re.IGNORECASE)
_CENTURY_BEFORE = re.compile(r"(?:siècles?|siglos?|century)\s*\Z", re.IGNORECASE)
_NO_ROMAN = frozenset(
    ["CD", "DC", "MD", "MC", "CC", "CV", "DI", "DM", "MM", "LI", "MI", "XL", "CM", "DIV", "MIX", "DVI", "CIV"]
)
"""Numbers that are more often other things."""
_WORD = re.compile(r"[^\W\d_]+(?:-[^\W\d_]+)*")
_NUMBER_WORDS = {
    word: value
    for value, words in {
        2: "deux two dos zwei", 3: "trois three tres drei", 4: "quatre four cuatro vier", 5: "cinq five cinco fünf",
        6: "six seis sechs", 7: "sept seven siete sieben", 8: "huit eight ocho acht", 9: "neuf nine nueve neun",
        10: "dix ten diez zehn", 11: "onze eleven once elf", 12: "douze twelve doce zwölf douzaine dozen docena dutzend",
        13: "treize thirteen trece dreizehn", 14: "quatorze fourteen catorce vierzehn", 15: "quinze fifteen fünfzehn",
        16: "seize sixteen dieciséis sechzehn", 17: "dix-sept seventeen diecisiete siebzehn", 18: "dix-huit eighteen dieciocho achtzehn",
        19: "dix-neuf nineteen diecinueve neunzehn", 20: "vingt twenty veinte zwanzig", 30: "trente thirty treinta dreißig",
        40: "quarante forty cuarenta vierzig", 50: "cinquante fifty cincuenta fünfzig", 60: "soixante sixty sesenta sechzig",
        70: "soixante-dix seventy setenta siebzig", 80: "quatre-vingts quatre-vingt eighty ochenta achtzig",
        90: "quatre-vingt-dix ninety noventa neunzig", 100: "cent hundred cien hundert",
    }.items()
    for word in words.split()
}  # fmt: skip
_ORDINAL_WORDS = {
    word: value
    for value, words in {
        2: "deuxième second seconde segundo segunda zweite zweiten", 3: "troisième third tercero tercera tercer dritte dritten",
        4: "quatrième fourth cuarto cuarta vierte vierten", 5: "cinquième fifth quinto quinta fünfte fünften", 6: "sixième sixth sexto sexta sechste",
        7: "septième seventh séptimo séptima siebte siebten", 8: "huitième eighth octavo octava achte achten", 9: "neuvième ninth noveno novena neunte",
        10: "dixième tenth décimo décima zehnte zehnten", 11: "onzième eleventh elfte", 12: "douzième twelfth zwölfte", 13: "treizième thirteenth",
        14: "quatorzième fourteenth", 15: "quinzième fifteenth", 16: "seizième sixteenth", 17: "dix-septième seventeenth",
        18: "dix-huitième eighteenth", 19: "dix-neuvième nineteenth", 20: "vingtième twentieth",
    }.items()
    for word in words.split()
}  # fmt: skip
_MONTHS = {
    name: number
    for number, names in enumerate(
        (
            "janvier january jan enero januar jänner gennaio", "février february feb febrero februar févr", "mars march mar marzo märz", "avril april apr abril avr",
            "mai may mayo", "juin june jun junio juni", "juillet july jul julio juli juil", "août august aug agosto", "septembre september sept sep septiembre",
            "octobre october oct octubre oktober okt", "novembre november nov noviembre", "décembre december dec diciembre dezember déc dez",
        ),
        start=1,
    )
    for name in names.split()
}  # fmt: skip
_MONTH = "|".join(sorted(_MONTHS, key=len, reverse=True))
_DAY_MONTH = re.compile(
    rf"\b(\d{{1,2}})(?:er|st|nd|rd|th|\.|º)?\s+(?:of\s+|de\s+)?({_MONTH})\b\.?", re.IGNORECASE
)
_AFTER_WORD = re.compile(r"(?<=\s)\d{1,4}(?:st|nd|rd|th)?(?![\w]|[.,]\d)")
_WORD_BEFORE = re.compile(r"([^\W\d_]+)\.?,?\s+(?:de\s+|of\s+)?\Z", re.IGNORECASE)
_ISO = re.compile(r"\b(\d{4})-(\d{2})-(\d{2})(?!\d)")
_TIME = re.compile(r"\b([01]?\d|2[0-3])\s?[h:]\s?([0-5]\d)\b")
_SLASHED = re.compile(r"\b(\d{1,2})[/.](\d{1,2})[/.](\d{4}|\d{2})\b")


@dataclass(frozen=True, slots=True)
class Numeral:
    """A number or a date at `[start, end)` of a text."""

    keys: frozenset[str]
    """Of these one must be found; `%` begins those of percent, `d` those of days of a month, `m` those of months,
    `t` times of day."""
    start: int
    end: int
    is_word: bool = False
    """Whether it is written in letters."""


def find_numerals(text: str) -> list[Numeral]:
    """The numbers and dates of a text, in its order."""
    found: list[Numeral] = []
    taken: list[tuple[int, int]] = []

    def take(keys: set[str], start: int, end: int, *, is_word: bool = False) -> None:
        found.append(Numeral(frozenset(keys), start, end, is_word))
        taken.append((start, end))

    has_figures = _FIGURE.search(text) is not None
    for match in _ISO.finditer(text) if has_figures else ():
        if 1 <= int(match[2]) <= 12 and 1 <= int(match[3]) <= 31:
            take({match[1]}, match.start(1), match.end(1))
            take({f"d{int(match[3])}-{int(match[2])}"}, match.start(2), match.end(3))
    for match in _TIME.finditer(text) if has_figures else ():
        take({f"t{int(match[1])}:{match[2]}"}, match.start(), match.end())
    for match in _SLASHED.finditer(text) if has_figures else ():
        one, other = int(match[1]), int(match[2])
        keys = {
            f"d{day}-{month}" for day, month in ((one, other), (other, one)) if day <= 31 and 1 <= month <= 12
        }
        if keys:
            take(keys, match.start(1), match.end(2))
            year = match[3] if len(match[3]) == 4 else ("19" if int(match[3]) > 40 else "20") + match[3]
            take({year}, match.start(3), match.end(3))
    for match in _DAY_MONTH.finditer(text) if has_figures else ():
        if 1 <= int(match[1]) <= 31 and _is_free(match.start(), match.end(), taken):
            take({f"d{int(match[1])}-{_MONTHS[match[2].lower()]}"}, match.start(), match.end())
    for match in _AFTER_WORD.finditer(text) if has_figures else ():
        before = _WORD_BEFORE.search(text, max(0, match.start() - 24), match.start())
        month = _MONTHS.get(before[1].lower()) if before else None
        if before is None or month is None or not _is_free(before.start(), match.end(), taken):
            continue
        number = int(_FIGURE_RUN.match(match[0])[0])  # type: ignore[index]
        if 1 <= number <= 31:
            take({f"d{number}-{month}"}, before.start(), match.end())
        else:
            take({f"m{month}"}, before.start(), before.end(1))
    for match in _FIGURES.finditer(text) if has_figures else ():
        is_label = (
            text[match.start() - 1 : match.start()] == "(" and text[match.end() : match.end() + 1] == ")"
        )
        if _is_free(match.start(), match.end(), taken) and not (is_label and len(match[0]) == 1):
            keys, end = _read_figures(match[0], text, match.end())
            take(keys, match.start(), end)
    for match in _ROMAN.finditer(text):
        if match[0] and _is_free(match.start(), match.end(), taken) and _is_roman(match, text):
            take({_plain(_read_roman(match))}, match.start(), match.end())
    for match in _WORD.finditer(text):
        word = match[0].lower()
        value = _NUMBER_WORDS.get(word) or _ORDINAL_WORDS.get(word)
        if value and _is_free(match.start(), match.end(), taken):
            keys, end = _scaled({_plain(value)}, [Decimal(value)], text, match.end())
            take(keys, match.start(), end, is_word=True)
    return sorted(found, key=lambda numeral: numeral.start)


def held_keys(numerals: list[Numeral]) -> set[str]:
    """What the numerals of a source bear out: a date bears out its month, and percent the bare number."""
    held: set[str] = set()
    for numeral in numerals:
        for key in numeral.keys:
            held.add(key)
            if key[0] == "d":
                day, _, month = key[1:].partition("-")
                held.update((f"m{month}", day))
            elif key[0] == "%":
                held.add(key[1:])
    return held


def _is_free(start: int, end: int, taken: list[tuple[int, int]]) -> bool:
    return not any(first < end and start < last for first, last in taken)


def _plain(value: int | Decimal) -> str:
    text = format(Decimal(value), "f")
    return (text.rstrip("0").rstrip(".") if "." in text else text).lstrip("0") or "0"


def _readings(figures: str) -> list[Decimal]:
    """What figures may say: where one sign stands before three digits, both thousands and a fraction."""
    digits = re.sub(rf"[{_SPACE}'’]", "", figures)
    signs = [sign for sign in digits if sign in ".,"]
    if not signs:
        return [Decimal(digits)]
    if len(set(signs)) == 2:
        last = max(digits.rfind("."), digits.rfind(","))
        whole = re.sub("[.,]", "", digits[:last])
        return [Decimal(f"{whole}.{digits[last + 1 :]}")]
    groups = re.split("[.,]", digits)
    grouped = len(groups[0]) <= 3 and all(len(group) == 3 for group in groups[1:])
    readings: list[Decimal] = []
    if grouped:
        readings.append(Decimal("".join(groups)))
    if len(signs) == 1:
        readings.append(Decimal(".".join(groups)))
    return readings or [Decimal("".join(groups))]


def _read_figures(figures: str, text: str, end: int) -> tuple[set[str], int]:
    readings = _readings(figures)
    keys = {_plain(value) for value in readings}
    percent = _PERCENT.match(text, end)
    if percent:
        return {f"%{key}" for key in keys}, percent.end()
    return _scaled(keys, readings, text, end)


def _scaled(keys: set[str], readings: list[Decimal], text: str, end: int) -> tuple[set[str], int]:
    scale = _SCALE.match(text, end)
    if not scale:
        return keys, end
    index = next(i for i, group in enumerate(scale.groups()) if group)
    keys = {_plain(value * _SCALES[index]) for value in readings}
    if scale[0].strip(" -").lower() == "billion":
        # A thousand times more in French than in English.
        keys |= {_plain(value * 10**12) for value in readings}
    return keys, scale.end()


def _is_roman(match: re.Match[str], text: str) -> bool:
    """Whether capitals are a number: of several letters, or where only a number makes sense."""
    letters = "".join(match.groups(default="")[:4])
    if _CENTURY.match(text, match.end()) or _CENTURY_BEFORE.search(text, 0, match.start()):
        return True
    if len(letters) == 1:
        return bool(match[5]) and letters in "IVX"
    return letters not in _NO_ROMAN


def _read_roman(match: re.Match[str]) -> int:
    values = {"I": 1, "V": 5, "X": 10, "L": 50, "C": 100, "D": 500, "M": 1000}
    letters = "".join(match.groups(default="")[:4])
    total = 0
    for at, letter in enumerate(letters):
        value = values[letter]
        smaller = at + 1 < len(letters) and values[letters[at + 1]] > value
        total += -value if smaller else value
    return total
