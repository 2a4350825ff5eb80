"""The language of a question: told by its small words, since it is too short for anything else."""

from __future__ import annotations

import re

_WORD = re.compile(r"[^\W\d_]+")

SMALL_WORDS = {
    language: frozenset(words.split())
    for language, words in {
        "en": "a about after all also an and any are as at be because been before being but by can could did do does "
        "during each for from had has have he her him his how i if in into is it its many me more most much my no not "
        "of on once only or other our out over she should so some such than that the their them then there these they "
        "this those to under up was we were what when where which while who whom whose why will with would you your",
        "fr": "à afin ai alors après as au aucun aussi autre aux avait avant avec avez avoir avons c ce ceci cela celle "
        "celles celui ces cet cette ceux chez combien comme comment d dans de depuis des dis dit donc dont du elle elles en "
        "encore entre est et étaient était été être eu eux fait fut furent il ils j je l la laquelle le lequel les lesquels leur "
        "leurs lors lui m ma mais me même mes moi mon n ne ni nos notre nous on ont où ou par parmi pas pendant peut plus "
        "pour pourquoi qu quand que quel quelle quelles quels qui quoi s sa sans se selon sera ses si son sont sous sur t "
        "ta te tes toi ton tous tout toute toutes très tu un une vers vos votre vous y",
        "de": "aber als am an auch auf aus bei bis da das dass dem den der des die diese dieser du durch ein eine einem "
        "einen einer eines er es für gegen haben hat hatte ich ihr im in ist ja kann kein mit nach nicht noch nur ob "
        "oder sein sich sie sind so über um und uns unter vom von vor wann war waren warum was welche welchem welchen "
        "welcher welches wem wen wenn wer werden wie wieviel wird wo wurde wurden zu zum zur zwischen",
        "es": "al ante antes cómo como con cuál cuáles cuando cuándo cuánta cuántas cuánto cuántos de del desde donde "
        "dónde durante el ella ellas ellos en entre era es esa ese eso esta está están este esto fue fueron ha hay la "
        "las le les lo los más muy no nos o para pero por porque qué que quién quiénes se según ser si sin sobre son su "
        "sus también tiene un una unas unos y ya",
        "it": "a al alla alle anche che chi ci come con cosa da dal dalla dei del della delle di dove e è era gli ha "
        "hanno i il in la le lo ma nel nella non o per perché più quale quali quando quanti quanto questa questo se si "
        "sono su sua sul sulla suo tra un una uno",
        "pt": "a ao aos as com como da das de do dos e é ela ele em entre era essa esse está esta este foi foram há isso "
        "mais mas na não nas no nos o onde os ou para pela pelo por porque qual quais quando quantas quantos que quem "
        "são se sem seu sua também um uma",
        "nl": "aan al als bij dan dat de deze die dit door een en er haar heeft het hij hoe hoeveel ik in is je kan met "
        "naar niet nog of om onder ook op over te tot uit van veel voor waar waarom wanneer waren was wat welke werd "
        "wie wordt zijn ze",
    }.items()
}  # fmt: skip


def tell_language(text: str) -> str:
    """The language that most of a question's small words belong to, ISO 639-1; empty when they do not tell."""
    words = [match[0].casefold() for match in _WORD.finditer(text)]
    counts = {language: sum(word in own for word in words) for language, own in SMALL_WORDS.items()}
    best = max(counts.values())
    leading = [language for language, count in counts.items() if count == best]
    return leading[0] if best and len(leading) == 1 else ""
