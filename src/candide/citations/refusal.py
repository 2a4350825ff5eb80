"""How an answer says that the sources do not say, and how that is told from a statement."""

from __future__ import annotations

import itertools
import re

_SILENCE = {
    "ar": "المصادر لا تذكر ذلك.",
    "bg": "Източниците не казват това.",
    "ca": "Les fonts no ho diuen.",
    "cs": "Zdroje to neuvádějí.",
    "da": "Kilderne siger det ikke.",
    "de": "Die Quellen sagen es nicht.",
    "el": "Οι πηγές δεν το αναφέρουν.",
    "en": "The sources do not say.",
    "es": "Las fuentes no lo dicen.",
    "et": "Allikad seda ei ütle.",
    "eu": "Iturriek ez dute hori esaten.",
    "fa": "منابع این را نمی‌گویند.",
    "fi": "Lähteet eivät kerro sitä.",
    "fr": "Les sources ne le disent pas.",
    "ga": "Ní deir na foinsí é.",
    "gl": "As fontes non o din.",
    "he": "המקורות אינם אומרים זאת.",
    "hi": "स्रोत यह नहीं बताते।",
    "hr": "Izvori to ne navode.",
    "hu": "A források ezt nem mondják meg.",
    "id": "Sumber-sumber tidak menyebutkannya.",
    "it": "Le fonti non lo dicono.",
    "ja": "出典には書かれていません。",
    "ko": "출처에는 나와 있지 않습니다.",
    "lt": "Šaltiniai to nesako.",
    "lv": "Avoti to nesaka.",
    "nl": "De bronnen zeggen het niet.",
    "no": "Kildene sier det ikke.",
    "pl": "Źródła tego nie mówią.",
    "pt": "As fontes não o dizem.",
    "ro": "Sursele nu spun asta.",
    "ru": "В источниках об этом не говорится.",
    "sk": "Zdroje to neuvádzajú.",
    "sl": "Viri tega ne povedo.",
    "sr": "Извори то не наводе.",
    "sv": "Källorna säger inte det.",
    "th": "แหล่งข้อมูลไม่ได้ระบุไว้",
    "tr": "Kaynaklar bunu söylemiyor.",
    "uk": "У джерелах про це не йдеться.",
    "vi": "Các nguồn không nói về điều đó.",
    "zh": "资料来源没有提及。",
}  # fmt: skip

_SOURCES = {
    "fr": r"sources?|documents?|passages?|textes?|extraits?|articles?|contexte|informations?|éléments|données",
    "en": r"sources?|documents?|passages?|texts?|excerpts?|articles?|contexts?|information|materials?|snippets?",
    "es": r"fuentes?|documentos?|pasajes?|textos?|extractos?|artículos?|contexto|información",
    "de": r"quellen?|dokumente?n?|passagen?|texte?n?|auszüge?n?|artikeln?|kontext|informationen",
}
_SAYS = {
    "fr": r"disent|dit|mentionn\w+|précis\w+|indiqu\w+|répond\w*|contien\w+|fourni\w+|donn\w+|permet\w*|parl\w+|évoqu\w+|révèl\w+|abord\w+|trouv\w+"
    r"|suffi\w+|spécifi\w+|comport\w+|cit\w+|figur\w+|appara\w+",
    "en": r"says?|said|state[sd]?|mention\w*|specif\w+|indicat\w+|answer\w*|contain\w*|provid\w+|giv\w+|tells?|discuss\w*|address\w*|reveal\w*|include\w*"
    r"|cover\w*|allow\w*|enough|sufficient|found|available|explain\w*|describ\w+|list\w*|report\w*|disclos\w+|clarif\w+",
    "es": r"dicen?|mencion\w+|precis\w+|indic\w+|respond\w+|contien\w+|proporcion\w+|ofrec\w+|dan|da|especific\w+|habla\w*|suficient\w+|encontr\w+|aparec\w+",
    "de": r"sagen|sagt|erwähn\w+|nenn\w+|angegeben|geben|gibt|beantwort\w+|enthalt\w+|enthält|liefer\w+|beschreib\w+|ausreich\w+|gefunden|hervor",
}
_NOT = {
    "fr": r"ne|n|pas|aucun\w*|insuffisant\w*|ni",
    "en": r"not|no|none|never|neither|cannot|\w+n['’]t|nothing|insufficient",
    "es": r"no|ning\w+|nada|tampoco|insuficiente\w*",
    "de": r"nicht|kein\w*|nichts|unzureichend\w*",
}
_WORDINGS = [
    tuple(re.compile(words[code], re.IGNORECASE) for words in (_NOT, _SOURCES, _SAYS)) for code in _SOURCES
]
_APART = 12
"""Words within which sources, what they do and its denial stand together."""
_PLAIN = re.compile(
    r"^\W*(?:je ne (?:sais|peux|trouve|dispose)\b|i (?:do not|don['’]t|cannot|can['’]t|could not|couldn['’]t|am unable|['’]m unable|was unable)\b"
    r"|no (?:lo )?s[eé]\b|no puedo\b|no se (?:menciona|indica|especifica|dice)\b|ich (?:weiß|kann)\b.*\bnicht\b|on ne (?:sait|trouve) pas\b"
    r"|(?:cela|ce|ceci|il) n['’](?:est|y) (?:a )?pas (?:\w+ )?(?:mentionn|précis|indiqu|spécifi|dit)|it is (?:not|un)\s?(?:\w+ )?(?:mention|specif|stated|clear|known)"
    r"|there (?:is|are|was) no (?:\w+ )?(?:information|mention|answer|details?|evidence)\b|il n['’]y a (?:pas|aucune?) (?:d['’]|de )?(?:information|mention|réponse|détail)"
    r"|no hay (?:información|mención|respuesta|datos)\b|es gibt keine (?:angaben|informationen|antwort|hinweise)\b"
    r"|not (?:mentioned|specified|stated)|unknown from|es wird nicht|das wird nicht|(?:cette|l['’])\s?information n['’]est pas|this information is not)",
    re.IGNORECASE | re.DOTALL,
)
_TURN = re.compile(
    r"[,;:—–]\s*(?:mais|cependant|toutefois|néanmoins|but|however|although|though|yet|pero|sin embargo|aunque|aber|jedoch|doch)\b(.*)",
    re.IGNORECASE | re.DOTALL,
)
_WORD = re.compile(r"\w+(?:['’]t\b)?")


def say_silence(language: str) -> str:
    """The sentence that says it, in the language of an ISO 639 or BCP 47 code; in English where that is unknown."""
    code = language.lower().replace("_", "-").split("-")[0]
    return _SILENCE.get({"nb": "no", "nn": "no", "bs": "hr"}.get(code, code), _SILENCE["en"])


def is_refusal(sentence: str) -> bool:
    """Whether a sentence says that the sources do not say, or that the answer is not known; in French, English, Spanish
    or German, or as `say_silence` has it. One that goes on to state something ("…, but it was 1998") is none."""
    plain = sentence.strip(' \t\n*_«»"“”>')
    if plain in _SILENCE.values():
        return True
    turned = _TURN.search(plain)
    if turned and len(_WORD.findall(turned[1])) >= 3:
        return False
    return bool(_PLAIN.match(plain)) or _speaks_of_silence(plain)


def _speaks_of_silence(sentence: str) -> bool:
    """Whether a word for sources, one for what they do, and a denial stand near each other, in one language."""
    words = _WORD.findall(sentence)
    for wordings in _WORDINGS:
        places = [
            [at for at, word in enumerate(words) if wording.fullmatch(word)] for wording in wordings[:1]
        ]
        if not places[0]:
            continue
        places += [
            [at for at, word in enumerate(words) if wording.fullmatch(word)] for wording in wordings[1:]
        ]
        if any(max(near) - min(near) <= _APART for near in itertools.product(*places)):
            return True
    return False


LANGUAGES = tuple(_SILENCE)
"""Those that `say_silence` knows, as ISO 639-1."""
