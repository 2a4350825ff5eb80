"""A follow-up made self-contained: what a question leaves to the conversation before it is put into words.

A search knows nothing of a conversation. "Et lui ?", "and in 2024?", "why?" get the question that they continue, and a
pronoun without a name gets the names that it may stand for. No model is asked: the outcome is for an index, which wants
the words and needs no grammar. A question that says what it is about is left as it is, character for character.

It looks at forms alone, in French and English, with a little of their neighbours. Where it errs it adds words of the
conversation to a question that could do without, which costs a search less than the words that are missing.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise

from candide.domain.messages import Message
from candide.retrieval.words import Word, empty_words, find_words, fold, tell_language

MAX_QUESTIONS = 8
"""So many questions back is looked."""
MAX_CHARS = 400
"""A longer question says what it is about; of an answer, or of what a question takes along, so much is read."""
MAX_NAMES = 3


def _words(text: str) -> frozenset[str]:
    return frozenset(fold(word) for word in text.split())


_BARE = _words(
    "autre autres autrement besoin certain combien comment continue continuez davantage detail details detaille "
    "detaillez developpe developpez dire dis dit dites donc donne donnez encore exemple exemples explique expliquer "
    "expliquez fait faut merci parle parlez peut peux plait pourquoi pouvez precise precisez preuve preuves raison "
    "raisons reformule repete resume resumer resumez sais savez source sources stp suite sur svp vraiment another "
    "any anything details elaborate else evidence example examples expand explain give go know "
    "me ok okay please proof reason reasons really say show so something summarize summary sure tell thanks "
    "then again further others beispiel mas mehr warum weiter"
)
"""Words that a question may be made of, beside the small ones, without saying what it is about."""

_ORDERS = _words(
    "cite compare decris describe donne explain explique find give list liste montre name nomme presente resume "
    "show summarize tell trouve raconte parle dis"
)
"""Words that a request begins with, in capitals, and that are no names."""

_ASKING = _words(
    "quand pourquoi comment combien ou qui quel quelle quels quelles que est when why how where who which what whose did "
    "does do is was were are has have can could will would"
)
_ENTITY = _words(
    "who whom whose which what qui quel quelle quels quelles lequel laquelle name called appelle nom cite wer welche quien"
)
"""Questions of these words are answered with a name, which the next question may be about."""

_LEADING = re.compile(
    r"\W*(?:(?:et|mais|ou|and|but|or|y|und|aber)\b(?:\s+(?:alors|then|so|also|aussi))?\W*)?"
    r"(?:(?:what|how)\s+about\b|qu['’]en\s+est[ -]il\b|quid\b|(?:the\s+)?same\s+(?:question\s+|thing\s+)?for\b"
    r"|(?:la\s+)?même\s+(?:question|chose)\s+pour\b|was\s+ist\s+mit\b|qué\s+tal\b)?\s*",
    re.IGNORECASE,
)
"""How a question begins that continues the one before."""
_TIME = re.compile(
    r"(?:(?:in|en|for|pour|since|depuis|before|avant|after|apres|vers|around|by|today|aujourd hui|now|maintenant"
    r"|this year|cette annee|last year|l annee derniere) ?)+(?:\d{4})?"
)
"""A question that is a time alone; matched on folded words."""

_PERSONS = _words("he him his she her hers lui elle elles ils il eux")
_THINGS = _words("it its they them their theirs celui celle ceux celles leur leurs son sa ses")
_POINTING = re.compile(
    r"\b(?:(?:this|that|these|those|such|cet|cette|ces) "
    r"(?!year|month|week|morning|time|century|is|was|are|were|annee|semaine|matin|mois|fois|siecle|the|a)\w{3,}"
    r"|ce (?!mois|matin|soir|jour|qui|que|qu|sont|fut|siecle)\w{3,}"
    r"|(?:the|le|la|les|ce) (?:former|latter|deuxieme|(?:first|second|last) one|derniere?|premiere?)$"
    r"|there$|la bas|y (?:habite|vit|vivent|trouve|est|sont)\w*|cela|ca$|(?:to|of|from|by|with|about|for|after|before) (?:that|this|those|these)$"
    r"|l (?:a|ont|avait|avaient|aurait|auraient)\b|(?:next|afterwards|ensuite|par la suite)$"
    r"|(?:peut|peux|peuvent|pouvez|doit|doivent|faut|veut|pour|de|d|comment|pourquoi) en \w+(?:er|ir|re)\b)"
)
"""What points back, beside pronouns; matched on folded words."""
_IMPERSONAL = re.compile(
    r"\b(?:y a t il|il y (?:a|avait|aura)|faut il|il (?:faut|est|fait|s agit)|est il (?:possible|vrai|necessaire|utile|interdit"
    r"|permis|obligatoire|legal|dangereux|normal|prudent)|s il (?:vous|te)|fait il (?:beau|chaud|froid|bon|mauvais|nuit|jour|si|quel)|temps fait il|pleut il|existe t il|s agit il"
    r"|se passe t il|reste t il|suffit il|vaut il|"
    r"(?:is|was|does|will|would|did) it (?:true|possible|legal|safe|necessary|that|take|mean|cost|rain|better|normal|worth|to)"
    r"|it (?:is|s|takes?|costs?|rains?|means?)|(?:time|day|date) is it)\b"
)
"""Where a pronoun stands for nothing."""

_DETERMINERS = _words("le la les l un une des du the a an mon ma mes notre nos my our every each chaque")
_NAME = re.compile(
    r"\b(?![a-zß-öø-ÿ\d_])[^\W\d_][\w.&-]*(?:['’](?=[A-ZÀ-Ý])\w+)?"
    r"(?:\s+(?:(?:de|du|des|of|the|von|van|der|la|le|di|da|and|et)\s+|d['’]){0,2}(?![a-zß-öø-ÿ_])[^\W_][\w.&-]*)*"
)
"""Words in capitals that follow each other, with the small words of names between them."""
_ELIDED = re.compile(r"^(?:[ldjmtscnLDJMTSCN]|qu|Qu)['’]")
_YEAR = re.compile(r"\b(?:1\d{3}|20\d{2})\b")
_SENTENCE_END = re.compile(r"(?<=[\w\W]{12}[.!?…])\s+|\n+")


def make_self_contained(question: str, branch: Sequence[Message]) -> str:
    """The question, with what it takes from the questions and answers before it.

    `branch` are the messages before the question, in order; the question itself may stand at its end.
    """
    context, answer = "", ""
    for asked, answered in _pair(question, branch):
        context, answer = _complete(asked, context, answer), answered
    return _complete(question, context, answer)


def _pair(question: str, branch: Sequence[Message]) -> list[tuple[str, str]]:
    """The last questions before this one, each with the beginning of its answer."""
    rounds: list[tuple[str, str]] = []
    for message in branch:
        if message.role == "user":
            rounds.append((message.text, ""))
        elif message.role == "assistant" and rounds:
            rounds[-1] = (rounds[-1][0], message.text[:MAX_CHARS])
    if rounds and rounds[-1] == (question, ""):
        rounds.pop()
    return [pair for pair in rounds if pair[0].strip()][-MAX_QUESTIONS:]


def _complete(question: str, context: str, answer: str) -> str:
    """The question with what it takes from the one before, which is complete, and from its answer."""
    words = find_words(question)
    if not context or not words or len(question) > MAX_CHARS:
        return question
    plain = " ".join(word.folded for word in words)
    empty = empty_words(tell_language(question) or tell_language(context))
    if all(word.folded in empty or word.folded in _BARE for word in words) or _TIME.fullmatch(plain):
        # "Why?", "et lui ?", "and in 2024?": nothing but a turn to what came before.
        whole = _replace(context, question) or f"{_cut(context)} {question}"
        return _add(whole, _find_topics(context, answer)) if _points_back(question, words, plain) else whole
    leading = _LEADING.match(question)
    rest = question[leading.end() :] if leading else question
    continues = len(rest.strip()) < len(question.strip())
    asks = any(word.folded in _ASKING for word in find_words(rest)[:2]) or len(find_words(rest)) > 6
    if continues and not asks:
        return _replace(context, rest) or f"{_cut(context)} {question}"
    if (
        (continues and not _find_names(rest))
        or _points_back(question, words, plain)
        or _shortens_name(context, question, words)
    ):
        return _add(question, _find_topics(context, answer))
    return question


def _add(question: str, topics: Sequence[str]) -> str:
    return " ".join([question, *(topic for topic in topics if fold(topic) not in fold(question))])


def _replace(context: str, rest: str) -> str | None:
    """The context with its one name, or its one year, replaced by that of what continues it; None where it has not one."""
    for find in (_find_years, _find_names):
        new, old = find(rest), find(context)
        if new:
            if len(new) == 1 and len(old) == 1:
                start, end = old[0]
                return context[:start] + rest[slice(*new[0])] + context[end:]
            return None
    return None


def _points_back(question: str, words: Sequence[Word], plain: str) -> bool:
    """Whether a pronoun or a pointing word stands there that nothing before it in the question explains."""
    if _IMPERSONAL.search(plain):
        return False
    if _POINTING.search(plain):
        return True
    names = [start for start, _ in _find_names(question)]
    for n, word in enumerate(words):
        person, thing = word.folded in _PERSONS, word.folded in _THINGS
        if not (person or thing) or any(start < word.start for start in names):
            continue
        # "Le ciel est-il bleu ?" and "do cats love their owners?" have what the pronoun stands for before it.
        is_subject_before = any(
            before.folded in _DETERMINERS and words[m + 1].folded not in empty_words()
            for m, before in enumerate(words[: max(0, n - 1)])
        )
        is_inverted = word.start > 0 and question[word.start - 1] == "-"
        if is_subject_before and (
            is_inverted or word.folded in ("its", "it", "they", "son", "sa", "ses", "leur", "leurs")
        ):
            continue
        return True
    return False


def _shortens_name(context: str, question: str, words: Sequence[Word]) -> bool:
    """Whether a question without names calls what was named by a part of its name: "the tower" of the Eiffel Tower."""
    if _find_names(question):
        return False
    parts = {
        word.folded for start, end in _find_names(context) for word in find_words(context[start:end])
    } - empty_words()
    return any(word.folded in parts and before.folded in _DETERMINERS for before, word in pairwise(words))


def _find_topics(context: str, answer: str) -> list[str]:
    """The names that a pronoun may stand for: those of the question before and, where it asked for one, of its answer."""
    names = [context[start:end] for start, end in _find_names(context)]
    if not names:
        empty = empty_words(tell_language(context))
        names = [
            context[word.start : word.end]
            for word in find_words(context)
            if word.folded not in empty and word.folded not in _BARE and word.folded not in _ORDERS
        ]
        names = [" ".join(names[:6])] if names else []
    if any(word.folded in _ENTITY for word in find_words(context)[:6]):
        first = _SENTENCE_END.split(answer.strip(), maxsplit=1)[0]
        found = [first[start:end] for start, end in _find_names(first, is_answer=True)]
        names = [*names[:MAX_NAMES], *found[:2]]
    unique: dict[str, str] = {}
    for name in names:
        unique.setdefault(fold(name), name)
    return list(unique.values())[: MAX_NAMES + 2]


def _find_names(text: str, *, is_answer: bool = False) -> list[tuple[int, int]]:
    """The spans of words that are capitalised, and not because a sentence begins there with an ordinary word."""
    found: list[tuple[int, int]] = []
    for match in _NAME.finditer(text):
        start, end = match.span()
        if elided := _ELIDED.match(match[0]):
            start += elided.end()
        before = text[:start].rstrip()
        while not before or before[-1] in '.!?:…«“"\n*-':
            # The first word of a sentence is a name only where it is none of those that begin sentences.
            first = re.compile(r"[^\W_]+").match(text, start, end)
            if first is None or not (
                fold(first[0]) in empty_words() or fold(first[0]) in _BARE or fold(first[0]) in _ORDERS
            ):
                break
            after = re.compile(r"['’\s-]*").match(text, first.end(), end)
            start = after.end() if after else end
            before = text[:start].rstrip() if start < end else "x"
        name = text[start:end].rstrip(".&-")
        if len(name) > 1 and not name[0].islower() and any(character.isalpha() for character in name):
            found.append((start, start + len(name)))
    return found


def _find_years(text: str) -> list[tuple[int, int]]:
    return [match.span() for match in _YEAR.finditer(text)]


def _cut(context: str) -> str:
    """As much of the context as goes along with a question that adds to it, in whole words."""
    return context if len(context) <= MAX_CHARS else context[:MAX_CHARS].rsplit(maxsplit=1)[0]
