"""The questions with the passages that answer them, and the other passages among which these have to be found.

`held_out.json` was written first, and nothing was tuned by it: no weight, and no synonym of the emulator. The other
passages are of the same world (an office, a shop, machines, journeys), in the same four languages, and use the words
of the questions where they answer nothing.
"""

import json
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
OTHERS = 2_400
"""Passages that answer nothing."""


@dataclass(frozen=True)
class Question:
    text: str
    answer: int
    """The key of the passage that answers it."""
    is_identifier: bool
    is_held_out: bool


@dataclass(frozen=True)
class Corpus:
    passages: dict[int, str]
    questions: list[Question]


def corpus() -> Corpus:
    """The same one in every run: answers spread evenly among the others."""
    chance = random.Random(20261130)
    texts = list(dict.fromkeys(_others(chance, OTHERS * 2)))[:OTHERS]
    facts = [
        (fact, name == "held_out")
        for name in ("held_out", "tuning")
        for fact in json.loads((HERE / f"{name}.json").read_text())
    ]
    passages = dict(enumerate(texts, start=1))
    questions = []
    for number, (fact, is_held_out) in enumerate(facts):
        key = 10_000 + number
        passages[key] = fact["passage"]
        questions += [Question(text, key, fact.get("identifier", False), is_held_out) for text in fact["questions"]]
    return Corpus(passages, questions)


CITIES = [
    "Lyon",
    "Bremen",
    "Osaka",
    "Leeds",
    "Nantes",
    "Kyoto",
    "Graz",
    "Bristol",
    "Basel",
    "Sapporo",
    "Lille",
    "Kassel",
    "Dover",
    "Nagoya",
    "Tours",
    "Ulm",
]
NAMES = [
    "Okada",
    "Martin",
    "Weber",
    "Hughes",
    "Sato",
    "Bernard",
    "Krause",
    "Bennett",
    "Mori",
    "Dubois",
    "Vogel",
    "Carter",
    "Abe",
    "Lefevre",
    "Brandt",
    "Doyle",
]
SERIES = [
    "Aurora",
    "Boreal",
    "Cirrus",
    "Delta",
    "Ember",
    "Fjord",
    "Gale",
    "Horizon",
    "Iris",
    "Juno",
    "Karst",
    "Lumen",
    "Mistral",
    "Nimbus",
    "Onyx",
    "Polar",
]
TEAMS = {
    "en": ["sales", "finance", "research", "logistics", "legal", "production", "marketing", "support"],
    "de": ["Vertrieb", "Finanzen", "Forschung", "Logistik", "Recht", "Produktion", "Werbung", "Betreuung"],
    "fr": ["ventes", "finances", "recherche", "logistique", "juridique", "production", "publicité", "assistance"],
    "ja": ["営業部", "経理部", "研究部", "物流部", "法務部", "製造部", "広報部", "支援部"],
}
THEMES = {
    "en": [
        [
            "The {team} team met in {city} and agreed on a budget of {n} thousand euros.",
            "{name} leads the project {series} and reports to the board every {d} weeks.",
            "The minutes of the meeting list {d} open points, most of them about the supplier in {city}.",
            "Next year's holiday calendar of the {team} team is drawn up by {name}.",
        ],
        [
            "The machine of series {series} weighs {n} kilograms and needs a floor that carries twice as much.",
            "Its battery was developed in {city}; a set of {d} is delivered with every {series}.",
            "The display of the {series} shows {d} lines, the older model from {city} showed two.",
            "Oil for the {series} is sold in cans of {d} litres by {name} and partners.",
        ],
        [
            "The hotel {series} in {city} has {n} rooms, a pool and a garage for guests.",
            "From the station of {city} the bus takes {d} minutes to the {series} fair.",
            "Breakfast in the {series} is served on the terrace when the weather in {city} allows.",
            "The train from {city} stops {d} times before it reaches the coast.",
        ],
        [
            "Order {n}{d} of {name} was packed in {city} and left the warehouse on a Monday.",
            "The invoice of the {series} order names {name} as the buyer and {city} as the place of delivery.",
            "{name} returned from {city} with {d} samples for the {team} team.",
            "The price list of the {series} has {n} pages, and a discount for schools on page {d}.",
        ],
        [
            "The server {series} in {city} has {d} disks, and a password only {name} knows.",
            "The {team} team moved its files to the {series} in {d} nights.",
            "The network in {city} was down for {d} hours, because of a cable that {name} had cut.",
            "Version {d} of the {series} software brought {n} changes and a new logo.",
        ],
        [
            "The doctor {name} opened a practice in {city} and sees {n} patients a month.",
            "The study of the {series} drug followed {n} people in {city} for {d} years.",
            "The insurance {series} was founded in {city} by {name} and {d} others.",
            "Employees of the {team} team ran {d} kilometres for the children's hospital in {city}.",
        ],
    ],
    "de": [
        [
            "Das Team {team} traf sich in {city} und beschloss ein Budget von {n} Tausend Euro.",
            "{name} leitet das Projekt {series} und berichtet alle {d} Wochen dem Vorstand.",
            "Das Protokoll der Sitzung nennt {d} offene Punkte, die meisten zum Lieferanten in {city}.",
            "Den Urlaubskalender der Abteilung {team} führt im nächsten Jahr {name}.",
        ],
        [
            "Die Maschine der Serie {series} wiegt {n} Kilogramm und braucht einen festen Boden.",
            "Ihr Akku wurde in {city} entwickelt; zu jeder {series} gehört ein Satz von {d} Stück.",
            "Die Anzeige der {series} hat {d} Zeilen, das ältere Modell aus {city} hatte zwei.",
            "Öl für die {series} verkauft {name} in Kannen zu {d} Litern.",
        ],
        [
            "Das Hotel {series} in {city} hat {n} Zimmer, ein Bad und eine Garage für Gäste.",
            "Vom Bahnhof {city} fährt der Bus {d} Minuten bis zur Messe {series}.",
            "Das Frühstück im {series} wird auf der Terrasse serviert, wenn das Wetter in {city} gut ist.",
            "Der Zug aus {city} hält {d} Mal, bevor er die Küste erreicht.",
        ],
        [
            "Die Bestellung {n}{d} von {name} wurde in {city} gepackt und verließ das Lager am Montag.",
            "Die Rechnung der Bestellung {series} nennt {name} als Käufer und {city} als Ort der Lieferung.",
            "{name} kam mit {d} Mustern für das Team {team} aus {city} zurück.",
            "Die Preisliste der {series} hat {n} Seiten und einen Rabatt für Schulen auf Seite {d}.",
        ],
        [
            "Der Server {series} in {city} hat {d} Platten und ein Kennwort, das nur {name} kennt.",
            "Das Team {team} zog mit seinen Dateien in {d} Nächten auf die {series} um.",
            "Das Netz in {city} war {d} Stunden gestört, weil {name} ein Kabel durchtrennt hatte.",
            "Version {d} der Software {series} brachte {n} Änderungen und ein neues Logo.",
        ],
        [
            "Der Arzt {name} hat in {city} eine Praxis eröffnet und behandelt {n} Kranke im Monat.",
            "Die Studie zum Medikament {series} begleitete {n} Menschen in {city} über {d} Jahre.",
            "Die Versicherung {series} wurde in {city} von {name} und {d} anderen gegründet.",
            "Mitarbeiter der Abteilung {team} liefen {d} Kilometer für das Kinderkrankenhaus in {city}.",
        ],
    ],
    "fr": [
        [
            "L'équipe {team} s'est réunie à {city} et a voté un budget de {n} mille euros.",
            "{name} dirige le projet {series} et rend compte à la direction toutes les {d} semaines.",
            "Le compte rendu de la réunion compte {d} points ouverts, surtout sur le fournisseur de {city}.",
            "Le calendrier des congés du service {team} est tenu par {name}.",
        ],
        [
            "La machine de la série {series} pèse {n} kilos et demande un sol solide.",
            "Sa batterie a été conçue à {city} ; un lot de {d} accompagne chaque {series}.",
            "L'écran de la {series} affiche {d} lignes, l'ancien modèle de {city} en affichait deux.",
            "L'huile pour la {series} est vendue par {name} en bidons de {d} litres.",
        ],
        [
            "L'hôtel {series} à {city} a {n} chambres, une piscine et un garage pour les clients.",
            "De la gare de {city}, le bus met {d} minutes jusqu'au salon {series}.",
            "Le petit déjeuner du {series} est servi en terrasse quand le temps à {city} le permet.",
            "Le train de {city} s'arrête {d} fois avant d'atteindre la côte.",
        ],
        [
            "La commande {n}{d} de {name} a été emballée à {city} et a quitté l'entrepôt lundi.",
            "La facture de la commande {series} nomme {name} comme acheteur et {city} comme lieu de livraison.",
            "{name} est revenu de {city} avec {d} échantillons pour l'équipe {team}.",
            "Le tarif de la {series} a {n} pages, et une remise pour les écoles page {d}.",
        ],
        [
            "Le serveur {series} à {city} a {d} disques et un mot de passe que seul {name} connaît.",
            "L'équipe {team} a déplacé ses fichiers vers la {series} en {d} nuits.",
            "Le réseau de {city} a été coupé {d} heures à cause d'un câble que {name} avait sectionné.",
            "La version {d} du logiciel {series} a apporté {n} changements et un nouveau logo.",
        ],
        [
            "Le médecin {name} a ouvert un cabinet à {city} et voit {n} malades par mois.",
            "L'étude du médicament {series} a suivi {n} personnes à {city} pendant {d} ans.",
            "L'assurance {series} a été fondée à {city} par {name} et {d} autres.",
            "Des salariés du service {team} ont couru {d} kilomètres pour l'hôpital des enfants de {city}.",
        ],
    ],
    "ja": [
        [
            "{team}は{city}で会議を開き、{n}万円の予算を決めました。",
            "{name}さんは{series}計画を率い、{d}週間ごとに役員会へ報告します。",
            "議事録には未決の項目が{d}件あり、多くは{city}の仕入先に関するものです。",
            "{team}の休暇カレンダーは来年{name}さんが作ります。",
        ],
        [
            "{series}型の機械は重さが{n}キロあり、丈夫な床が必要です。",
            "その電池は{city}で開発され、{series}には{d}本が付属します。",
            "{series}の画面は{d}行で、{city}製の旧型は二行でした。",
            "{series}用の油は{name}商会が{d}リットル缶で販売しています。",
        ],
        [
            "{city}のホテル{series}には{n}室と温泉、お客様用の車庫があります。",
            "{city}駅から{series}見本市まではバスで{d}分です。",
            "天気がよければ{series}の朝食は{city}の庭で出されます。",
            "{city}からの電車は海に着くまでに{d}回止まります。",
        ],
        [
            "{name}さんの注文{n}{d}は{city}で梱包され、月曜日に倉庫を出ました。",
            "{series}の請求書では買い手が{name}さん、納入先が{city}です。",
            "{name}さんは{team}のために{city}から{d}個の見本を持ち帰りました。",
            "{series}の価格表は{n}ページあり、{d}ページに学校向けの割引があります。",
        ],
        [
            "{city}のサーバー{series}にはディスクが{d}台あり、パスワードは{name}さんだけが知っています。",
            "{team}は{d}晩かけてファイルを{series}へ移しました。",
            "{name}さんがケーブルを切ったため、{city}の回線は{d}時間止まりました。",
            "ソフト{series}の第{d}版では{n}か所が変わり、ロゴも新しくなりました。",
        ],
        [
            "医師の{name}さんは{city}に医院を開き、月に{n}人の患者を診ます。",
            "薬{series}の研究は{city}の{n}人を{d}年間追いました。",
            "{series}保険は{name}さんほか{d}人が{city}で始めました。",
            "{team}の社員は{city}の小児病院のために{d}キロ走りました。",
        ],
    ],
}


def _others(chance: random.Random, count: int) -> Iterator[str]:
    """Passages of two or three sentences about one theme."""
    languages = list(THEMES)
    for number in range(count):
        language = languages[number % len(languages)]
        theme = chance.choice(THEMES[language])
        blank = "" if language == "ja" else " "
        yield blank.join(
            sentence.format(
                team=chance.choice(TEAMS[language]),
                city=chance.choice(CITIES),
                name=chance.choice(NAMES),
                series=chance.choice(SERIES),
                n=chance.randrange(110, 990),
                d=chance.randrange(3, 60),
            )
            for sentence in chance.sample(theme, chance.choice((2, 3)))
        )
