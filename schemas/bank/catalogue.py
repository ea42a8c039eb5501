"""What the generated bank is made of: countries, currencies, names, trades. Data only."""

from __future__ import annotations

from typing import NamedTuple


class Country(NamedTuple):
    """A country, the currency its people are paid in, and what they are called."""

    name: str
    currency: str
    given: tuple[str, ...]
    family: tuple[str, ...]


#: Code of a currency: its name, and how many digits after the point an amount may use.
CURRENCIES: dict[str, tuple[str, int]] = {
    "AUD": ("Australian dollar", 2),
    "CAD": ("Canadian dollar", 2),
    "DKK": ("Danish krone", 2),
    "EUR": ("Euro", 2),
    "GBP": ("Pound sterling", 2),
    "ISK": ("Icelandic króna", 0),
    "JPY": ("Japanese yen", 0),
    "KRW": ("South Korean won", 0),
    "MXN": ("Mexican peso", 2),
    "PLN": ("Polish złoty", 2),
    "SEK": ("Swedish krona", 2),
    "SGD": ("Singapore dollar", 2),
    "USD": ("US dollar", 2),
}

_DANISH = (
    ("Søren", "Åse", "Mette", "Jørgen", "Kirsten", "Bjørn", "Freja"),
    ("Sørensen", "Ågård", "Nielsen", "Østergaard", "Møller", "Kjær"),
)
_ENGLISH = (
    ("Olivia", "James", "Zoë", "Noah", "Siobhán", "Chloé", "Liam"),
    ("Smith", "O'Neill", "Brontë", "Walker", "Nguyễn", "Singh"),
)
_SPANISH = (
    ("Íñigo", "María José", "Nuria", "Raúl", "Begoña", "Andrés"),
    ("Muñoz", "García Núñez", "Ibáñez", "Peña", "Ortega", "Güell"),
)

#: What is known of a country; one that is not here gets its code as name, and ``UNKNOWN``.
COUNTRIES: dict[str, Country] = {
    "AU": Country("Australia", "AUD", *_ENGLISH),
    "CA": Country("Canada", "CAD", *_ENGLISH),
    "DE": Country(
        "Germany",
        "EUR",
        ("Jürgen", "Käthe", "Björn", "Anneliese", "Günther", "Zoé"),
        ("Müller", "Weiß", "Schröder", "Köhler", "Groß", "von der Höh"),
    ),
    "DK": Country("Denmark", "DKK", *_DANISH),
    "ES": Country("Spain", "EUR", *_SPANISH),
    "FO": Country(
        "Faroe Islands",
        "DKK",
        ("Jákup", "Bjørg", "Tóra", "Høgni", "Rúni", "Marjun"),
        ("Joensen", "Á Lakjuni", "Í Jákupsstovu", "Djurhuus", "Ðamsgarð"),
    ),
    "FR": Country(
        "France",
        "EUR",
        ("François", "Hélène", "Loïc", "Anaïs", "Cœur", "Gaëlle"),
        ("Lefèvre", "Bœuf", "D'Aubigné", "Garçon", "Noël", "Crété"),
    ),
    "GL": Country(
        "Greenland",
        "DKK",
        ("Aqqaluk", "Nivi", "Pipaluk", "Ivalu", "Inuk", "Paninnguaq", "Malik"),
        ("Kleist", "Olsvig", "Motzfeldt", "Petersen", "Qûjaukitsoq", "Lyberth"),
    ),
    "GR": Country(
        "Greece",
        "EUR",
        ("Ελένη", "Γιώργος", "Σοφία", "Νίκος", "Άννα"),
        ("Παπαδόπουλος", "Οικονόμου", "Δημητρίου", "Βλάχος"),
    ),
    "IS": Country(
        "Iceland",
        "ISK",
        ("Guðrún", "Þór", "Sigríður", "Ægir", "Björk", "Eiður"),
        ("Jónsdóttir", "Þórðarson", "Sigurðardóttir", "Ólafsson"),
    ),
    "JP": Country(
        "Japan",
        "JPY",
        ("太郎", "花子", "さくら", "健一", "優子", "翔"),
        ("山田", "佐藤", "髙橋", "渡邉", "鈴木"),
    ),
    "KR": Country(
        "South Korea",
        "KRW",
        ("민준", "서연", "지우", "하은", "도윤"),
        ("김", "이", "박", "최", "정"),
    ),
    "MX": Country("Mexico", "MXN", *_SPANISH),
    "PL": Country(
        "Poland",
        "PLN",
        ("Łukasz", "Małgorzata", "Zbigniew", "Żaneta", "Paweł"),
        ("Wójcik", "Śliwa", "Dąbrowska", "Źrebiec", "Kowalczyk"),
    ),
    "SE": Country(
        "Sweden",
        "SEK",
        ("Åsa", "Göran", "Märta", "Örjan", "Linnéa"),
        ("Ångström", "Björklund", "Öberg", "Hjälmarsson"),
    ),
    "SG": Country(
        "Singapore",
        "SGD",
        ("Wei Ling", "Arjun", "Nurul", "Jia Hao", "Priya"),
        ("Tan", "Lim", "Lee", "Pillai", "bin Ismail"),
    ),
    "US": Country("United States", "USD", *_ENGLISH),
}

#: Currency and names of a country that is not in ``COUNTRIES``.
UNKNOWN = Country("", "EUR", *_ENGLISH)

#: Kinds of trade, and the words that merchants' names are made of.
CATEGORIES = ("groceries", "fuel", "restaurant", "travel", "clothing", "pharmacy", "online")
SHOP_WORDS = ("Nørre", "Café", "Blue", "Étoile", "Harbour", "Güven", "Aurora", "さくら", "Old")
SHOP_KINDS = ("Market", "& Sons", "Bistro", "Supply", "Store", "Station", "Boutique", "ApS")

#: What payers write to payees.
REFERENCES = ("Rent", "Thank you!", "Løn", "Faktura 2024/17", "Geburtstag 🎂", "50% of dinner")

#: Notes of payments, as Python objects; ``None`` as a value is a JSON null inside the document.
NOTES: tuple[object, ...] = (
    {"terminal": 17},
    {"invoice": "F-2024-00017", "lines": 3, "paid_in_full": True},
    {"tip": {"share": 0.125, "asked": None}, "table": "12b"},
    {"order": 9_007_199_254_740_993, "items": ["kaffe", "smørrebrød"]},
    {"message": 'said "thanks" \\ waved', "tags": []},
    {"distance_km": 12.5, "route": [{"from": "Nuuk", "to": "Sisimiut"}]},
    ["gift", "お祝い"],
    {},
)
