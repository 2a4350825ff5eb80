"""Whether a question asks for what is new, and what newness is worth then."""

from __future__ import annotations

import re

from candide.retrieval.words import fold

_NEWS = re.compile(
    r"\b(?:"
    # French, folded
    r"dernier(?:e|s|es)? (?:nouvelle|info|information|actualite|evenement|developpement|annonce|decision|mesure|heure)s?"
    r"|derniere? (?:semaine|mois)|(?:semaine|mois) derni(?:ere|er)"
    r"|actu(?:alite)?s?|quoi de neuf|recemment|recent(?:e|s|es)?|aujourd ?hui|hier|ce matin|ce soir|cette semaine|ces jours ci"
    r"|ces derniers (?:jours|temps)|en ce moment|actuellement|desormais|a l heure actuelle|du jour|nouveautes"
    # English
    r"|latest|newest|most recent|recently|recent|today|tonight|yesterday|this (?:week|morning|month)|last (?:week|night)"
    r"|breaking|current(?:ly)?|right now|these days|what s new|what is new|news"
    # German, Spanish, Italian
    r"|neuest(?:e|en|es|er)|aktuell(?:e|en|es|er)?|heute|gestern|kurzlich|ultim[aoe]s? (?:noticia|hora|notizi[ae])s?"
    r"|hoy|ayer|reciente(?:s|mente)?|oggi|ieri|recent[ei](?:mente)?"
    r")\b"
)
HALF_LIFE_S = 14 * 86400.0
"""After so long a source is half as new."""
WEIGHT = 0.5
"""What the newest gains at most, as a share of its score."""


def wants_news(text: str) -> bool:
    """Whether the question asks for what is new."""
    return _NEWS.search(" ".join(re.findall(r"\w+", fold(text)))) is not None


def value_newness(published: float | None, now: float) -> float:
    """What the score of a source is multiplied with where news is wanted; 1 for one without a date."""
    if published is None:
        return 1.0
    return 1.0 + WEIGHT * 0.5 ** (max(0.0, now - published) / HALF_LIFE_S)
