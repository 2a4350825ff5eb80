"""The words that checking an answer knows by heart: the small change of seven languages, and what means the same or the
opposite.

They are data: longer lists do better, and nothing depends on any one of them.
"""

from __future__ import annotations


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


STOP: dict[str, frozenset[str]] = {
    "fr": _set(
        "le la les l un une des du de d au aux a et ou où ni mais donc or car que qu qui quoi dont ce c cet cette ces ça cela ceci"
        " celui celle ceux celles il ils elle elles on nous vous je j tu me m te t se s lui leur leurs y en mon ma mes ton ta tes"
        " son sa ses notre nos votre vos est sont était étaient été être ont avait avaient ayant avoir eu sera seront fut furent"
        " soit ai as es suis par pour dans sur sous avec sans entre vers chez depuis pendant lors lorsque quand comme si ainsi"
        " alors aussi plus moins très tout toute tous toutes même mêmes autre autres ne n pas non aucun aucune quel quelle quels"
        " quelles selon après avant deux cependant toutefois notamment également peut peuvent fait faire étant dit ici là"
    ),
    "en": _set(
        "the a an of to in on at by for with from as into onto over under about between through during before after and or nor but"
        " so if than then that this these those which who whom whose what when where why how it its he his him she her they them"
        " their we our us you your i my me is are was were be been being am has have had having do does did can could may might"
        " must shall should will would not no also there here such some any all both each other more most very only own same just"
        " out up down off s t according however while because since until upon one"
    ),
    "es": _set(
        "el la los las un una unos unas de del al a y e o u ni pero sino que qué quien quienes cual cuales cuyo cuya este esta"
        " estos estas ese esa esos esas aquel aquella esto eso lo le les se su sus mi mis tu tus nos es son era eran fue fueron"
        " ser sido estar está están ha han había habían hay por para en con sin sobre entre desde hasta cuando como si no más"
        " menos muy todo toda todos todas otro otra otros otras también según donde durante tras ante"
    ),
    "de": _set(
        "der die das den dem des ein eine einen einem einer eines und oder aber doch denn weil dass daß ob wenn als wie wer was"
        " wo wann warum welche welcher welches er sie es ihn ihm ihr ihre ihren ihrem ihrer sein seinen seinem seiner wir"
        " uns unser ich mich mir du dich ist sind war waren sei wird werden wurde wurden worden hat haben hatte hatten kann"
        " können konnte konnten muss soll nicht kein keine keinen auch noch nur schon sehr mehr so zu zum zur in im an am auf"
        " aus bei beim mit nach von vom vor für über unter durch gegen ohne um bis seit zwischen während sich man dieser diese"
        " dieses diesem diesen"
    ),
    "it": _set(
        "il lo la i gli le un uno una di del dello della dei degli delle a al allo alla ai agli alle da dal dalla in nel nella nei"
        " con su sul sulla per tra fra e o ma che chi cui non si è sono era erano fu furono stato essere ha hanno aveva come"
        " più anche questo questa quello quella suo sua suoi loro"
    ),
    "pt": _set(
        "o a os as um uma de do da dos das em no na nos nas por pelo pela para com sem e ou mas que quem não se é são era eram"
        " foi foram ser estar está há tem têm tinha como mais também este esta isso seu sua seus suas ao à"
    ),
    "nl": _set(
        "de het een van in op aan met voor door naar uit bij en of maar dat die dit deze er is zijn was waren wordt werd heeft"
        " hebben had niet geen ook als om te hij zij ze het hun wij ik je"
    ),
}  # fmt: skip
"""Words that carry no content, by ISO 639-1."""
ALL_STOP = frozenset(word for words in STOP.values() for word in words)
NEGATIONS = _set(
    "pas jamais aucun aucune aucunement nullement rien not never no none neither nor cannot without nunca jamás ningún ninguna"
    " ninguno nada nicht nie niemals kein keine keinen keiner keinem ohne non mai nessun não nunca niet geen"
)
"""Words that make a sentence deny what it speaks of."""

OPPOSITES = (
    "augmenter hausser croître monter accroître progresser | diminuer baisser décroître descendre réduire reculer chuter",
    "augmentation hausse croissance | diminution baisse réduction recul chute",
    "increase rise grow raise | decrease fall shrink decline drop reduce",
    "aumentar subir crecer | disminuir bajar reducir caer",
    "steigen wachsen erhöhen zunehmen | sinken fallen senken abnehmen",
    "gagner vainqueur victoire remporter | perdre perdant défaite",
    "win victory winner | lose defeat loser",
    "ganar victoria | perder derrota",
    "gewinnen sieg | verlieren niederlage",
    "avant | après", "before | after", "antes | después",
    "premier première | dernier dernière", "first | last", "primero primera | último última",
    "nord | sud", "north | south",  "northern | southern", "east | west", "eastern | western",
    "accepter approuver autoriser | refuser rejeter interdire", "accept approve allow permit | refuse reject forbid ban prohibit",
    "aceptar aprobar permitir | rechazar prohibir", "akzeptieren erlauben | ablehnen verbieten",
    "ouvrir ouverture | fermer fermeture", "open | close closed", "abrir | cerrar",
    "maximum | minimum", "plus | moins", "more | less fewer", "más | menos", "mehr | weniger",
    "grand grande | petit petite", "large big largest biggest | small smallest", "grande | pequeño pequeña", "groß | klein",
    "naître né née | mourir mort morte décéder", "born | died dead", "nacer nacido | morir muerto",
    "ancien ancienne vieux | nouveau nouvelle neuf", "oldest | newest youngest", "gauche | droite", "left | right",
    "masculin homme | féminin femme", "male man | female woman", "vrai | faux", "true | false", "public | privé", "public | private",
    "supérieur | inférieur", "higher highest above | lower lowest below", "riche | pauvre", "rich | poor",
    "possible | impossible", "légal | illégal", "legal | illegal", "majorité | minorité", "majority | minority",
    "meilleur | pire", "best better | worst worse", "début commencer | fin finir terminer", "begin start | end finish",
    "import importer | export exporter", "acheter | vendre", "buy bought | sell sold", "ami allié | ennemi", "ally | enemy",
    "for | against", "pour | contre", "with | without", "avec | sans",
)  # fmt: skip
"""Each line has two sides; what a word of one side says, one of the other denies."""

ENDINGS = _set(
    "issements issement atrices atrice ateurs ateur ations ation utions ution ements ement ances ance ences ence ités ité"
    " euses euse eux ives ive ifs if ables able ibles ible istes iste ismes isme iques ique antes ante ants ant aient eront"
    " erait erons erez era ait ais ont ons ées ée és é er ir re ies ied ings ing edly ed ers est es e s ly ness ment ments"
    " ional ic ical y al aux ales ale ado ada ados adas ando iendo aron ieron ó ar os as o a idades idad ciones ción mente"
    " ion ions ungen ung lich liche lichen ig ige igen en em er ern n te ten t i is it u us ue"
)
"""Endings of French, English, Spanish and German words."""

SAME_NAMES = (
    "france french français française françaises francia francés francesa frankreich französisch französische",
    "germany german allemagne allemand allemande allemands alemania alemán alemana deutschland deutsch deutsche deutschen",
    "spain spanish espagne espagnol espagnole españa español española spanien spanisch",
    "england english angleterre anglais anglaise inglaterra inglés inglesa englisch",
    "britain british britannique britanniques bretaña británico británica großbritannien britisch britische",
    "italy italian italie italien italienne italia italiano italiana italienisch",
    "europe european européen européenne européens europa europeo europea europäisch europäische",
    "america american américain américaine amérique américains américa americano americana amerika amerikanisch",
    "states unis unidos staaten", "united états estados vereinigte", "kingdom royaume reino königreich",
    "london londres", "paris parís", "rome roma rom", "roman romain romaine romano römisch römische", "vienna vienne viena wien",
    "venice venise venecia venedig", "moscow moscou moscú moskau", "russia russian russie russe russes rusia ruso rusa russland russisch",
    "china chinese chine chinois chinoise chino chinesisch", "japan japanese japon japonais japonaise japón japonés japanisch",
    "india indian inde indien indienne indio indisch", "greece greek grèce grec grecque grecia griego griechenland griechisch",
    "switzerland swiss suisse suiza suizo schweiz schweizer", "austria austrian autriche autrichien österreich österreichisch",
    "belgium belgian belgique belge bélgica belga belgien belgisch", "netherlands dutch pays-bas néerlandais holandés niederlande niederländisch",
    "poland polish pologne polonais polonaise polonia polaco polen polnisch", "turkey turkish turquie turc turque turquía turco türkei türkisch",
    "egypt egyptian égypte égyptien egipto egipcio ägypten", "brazil brazilian brésil brésilien brasil brasileño brasilien",
    "brussels bruxelles bruselas brüssel", "geneva genève ginebra genf", "lisbon lisbonne lisboa lissabon", "warsaw varsovie varsovia warschau",
    "munich münchen", "cologne köln colonia", "florence florencia firenze florenz", "naples nápoles napoli neapel", "milan milán mailand",
    "athens athènes atenas athen", "beijing pékin pekín peking", "cairo caire kairo", "edinburgh édimbourg edimburgo", "seville séville sevilla",
    "africa african afrique africain africaine áfrica africano afrika afrikanisch", "asia asian asie asiatique asien", "australia australian australie australien australiano",
    "canada canadian canadien canadienne canadá canadiense kanada kanadisch", "mexico mexican mexique mexicain méxico mexicano mexiko",
    "ireland irish irlande irlandais irlanda irlandés irland irisch", "scotland scottish écosse écossais escocia escocés schottland schottisch",
    "sweden swedish suède suédois suecia sueco schweden schwedisch", "norway norwegian norvège norvégien noruega norwegen",
    "denmark danish danemark danois dinamarca danés dänemark dänisch", "finland finnish finlande finlandais finlandia finnland",
    "portugal portuguese portugais portugaise portugués portugiesisch", "ukraine ukrainian ukrainien ucrania ucraniano ukrainisch",
    "hungary hungarian hongrie hongrois hungría ungarn", "israel israeli israël israélien", "jerusalem jérusalem jerusalén",
    "christian chrétien chrétienne cristiano christlich", "catholic catholique católico katholisch", "muslim musulman musulmane musulmán muslimisch",
    "jewish juif juive judío jüdisch", "islam islamic islamique islámico islamisch", "church église iglesia kirche", "university université universidad universität",
    "saint san sankt santo", "king roi rey könig", "queen reine reina königin", "emperor empereur emperador kaiser", "pope pape papa papst",
    "president président présidente presidente präsident", "minister ministre ministro", "war guerre guerra krieg", "world monde mondiale mundo mundial welt",
    "republic république república republik", "river fleuve rivière río fluss", "lake lac lago see", "sea mer mar meer", "island île isla insel",
    "city ville ciudad stadt", "north nord norte norden", "south sud sur süden", "east est este osten", "west ouest oeste westen",
    "monday lundi lunes montag", "tuesday mardi martes dienstag", "wednesday mercredi miércoles mittwoch", "thursday jeudi jueves donnerstag",
    "friday vendredi viernes freitag", "saturday samedi sábado samstag", "sunday dimanche domingo sonntag",
    "un onu uno nations naciones nationen", "eu ue", "nato otan", "usa us eeuu", "ussr urss udssr", "ceo pdg", "ai ia", "gdp pib bip",
    "imf fmi iwf", "dna adn dns", "aids sida", "ngo ong", "vat tva iva mwst", "middle moyen medio mittlerer", "ages âge edad mittelalter",
    "mediterranean méditerranée mediterráneo mittelmeer", "rhine rhin rin rhein", "danube danubio donau", "seine sena", "alps alpes alpen",
    "napoleon napoléon napoleón", "charles carlos karl", "louis luis ludwig", "john jean juan johann johannes", "peter pierre pedro", "paul pablo",
    "henry henri enrique heinrich", "william guillaume guillermo wilhelm", "francis françois francisco franz", "philip philippe felipe philipp",
    "george georges jorge georg", "james jacques jaime jakob", "joan jeanne juana johanna", "mary marie maría maria", "elizabeth élisabeth isabel elisabeth",
    "genghis gengis dschingis", "homer homère homero", "plato platon platón", "aristotle aristote aristóteles aristoteles",
)  # fmt: skip
"""Each line names one thing in several languages, or its people."""

REPORTING = _set(
    "source sources document documents passage passages texte textes extrait extraits article articles mentionne mentionné mentionnent"
    " indique indiqué indiquent précise précisé rapporte rapporté affirme affirmé déclare déclaré explique souligne appelle appelé appelée"
    " text texts excerpt states stated mentions mentioned mention indicates indicated reported reports notes explains called named"
    " known refers says said fuente fuentes documento documentos texto menciona indica afirma según llamado quelle quellen dokument"
    " laut erwähnt genannt heißt réponse answer respuesta antwort question"
)
"""Words by which an answer speaks of its sources and not of its matter."""

AFFIRMATIONS = _set("oui non yes no sí si ja nein doch")
"""Words that answer a question by themselves."""

PLEASANTRIES = (
    "bonjour", "bonsoir", "bien sûr", "bien entendu", "voici", "avec plaisir", "j'espère", "n'hésitez", "merci", "désolé", "en résumé :", "hello",
    "hi", "sure", "of course", "certainly", "here is", "here are", "here's", "i hope", "let me know", "feel free", "thank", "sorry", "hola", "claro",
    "por supuesto", "aquí", "espero", "gracias", "hallo", "gerne", "natürlich", "hier ist", "hier sind", "ich hoffe", "danke",
)  # fmt: skip
"""How sentences begin that state nothing."""

TITLE_CUES = _set(
    "film livre roman album chanson pièce série émission article titre intitulé intitulée intitulés titré journal revue magazine"
    " book novel song play series show movie episode titled entitled newspaper película libro novela álbum canción titulado titulada"
    " buch lied titel"
)
"""What stands before a title in quotation marks."""
