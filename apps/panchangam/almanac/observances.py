"""What returns every lunar or solar month, as rules; and the names under which rules are asked for.

Always true: each Ekadashi has a Smarta and a Vaishnava rule of its own name; a group's name stands for all its rules.

Not here: the festivals of the year (festival_rules), how a day is chosen (festival_days).
"""

from dataclasses import replace
from difflib import get_close_matches
from types import MappingProxyType
from typing import Final

from apps.panchangam.almanac import names
from apps.panchangam.almanac.festival_rules import DHANU, MAKARA, RULES, Leap, Rule

# Amanta months from Chaitra: the Ekadashi of the bright half and that of the dark half. Putrada comes twice a year.
_EKADASHIS = (
    ("Kamada", "Varuthini"),
    ("Mohini", "Apara"),
    ("Nirjala", "Yogini"),
    ("Devshayani", "Kamika"),
    ("Shravana Putrada", "Aja"),
    ("Parsva", "Indira"),
    ("Papankusha", "Rama"),
    ("Dev Uthani", "Utpanna"),
    ("Mokshada", "Saphala"),
    ("Pausha Putrada", "Shattila"),
    ("Jaya", "Vijaya"),
    ("Amalaki", "Papmochani"),
)
_PRADOSH_DAYS = ("Soma", "Bhauma", "Budha", "Guru", "Shukra", "Shani", "Ravi")  # Monday first
_TUESDAY = 1


def _ekadashi(name: str, month: int | None, tithi: int) -> Rule:
    """Make the Smarta rule of an Ekadashi; without a month it is one of the adhika month."""
    slug = name.lower().replace(" ", "_") + "_ekadashi"
    leap: Leap = "nija" if month is not None else "adhika"
    return Rule(id=slug, name=f"{name} Ekadashi", kind="vrat", month=month, leap=leap, tithi=tithi)


SMARTA: Final = (
    *(_ekadashi(pair[half], month, 11 + 15 * half) for month, pair in enumerate(_EKADASHIS) for half in (0, 1)),
    _ekadashi("Padmini", None, 11),
    _ekadashi("Parama", None, 26),
)
VAISHNAVA: Final = tuple(
    replace(smarta, id=f"{smarta.id}_vaishnava", name=f"{smarta.name} (Vaishnava)", method="vaishnava")
    for smarta in SMARTA
)
SMARTA_IDS: Final = frozenset(ekadashi.id for ekadashi in SMARTA)
EKADASHI_IDS: Final = SMARTA_IDS | {ekadashi.id for ekadashi in VAISHNAVA}

VAIKUNTHA: Final = Rule(
    id="vaikuntha_ekadashi", name="Vaikuntha Ekadashi", kind="vrat", leap="any", tithi=11, sign=DHANU
)
PRADOSH: Final = tuple(
    Rule(id="pradosh_vrat", name="Pradosh Vrat", kind="vrat", leap="any", tithi=tithi, window="pradosha", two="more")
    for tithi in (13, 28)
)
MONTHLY: Final = (
    Rule(
        id="sankashti_chaturthi",
        name="Sankashti Chaturthi",
        kind="vrat",
        leap="any",
        tithi=19,
        window="moonrise",
        none="next",
    ),
    Rule(
        id="vinayaka_chaturthi",
        name="Vinayaka Chaturthi",
        kind="vrat",
        leap="any",
        tithi=4,
        window="madhyahna",
        two="more",
    ),
    *PRADOSH,
    Rule(id="masik_shivaratri", name="Masik Shivaratri", kind="vrat", leap="any", tithi=29, window="nishita"),
    Rule(id="skanda_shashti", name="Skanda Shashti", kind="vrat", leap="any", tithi=6),
    Rule(id="kalashtami", name="Kalashtami", kind="vrat", leap="any", tithi=23),
    Rule(id="purnima", name="Purnima", kind="observance", leap="any", tithi=15),
    Rule(id="amavasya", name="Amavasya", kind="observance", leap="any", tithi=30),
)
# The entry into Makara is the festival Makar Sankranti.
SANKRANTIS: Final = tuple(
    Rule(
        id=f"{sign.lower()}_sankranti",
        name=f"{sign} Sankranti",
        kind="sankranti",
        sign=number,
        method="cut",
        window="sunset",
    )
    for number, sign in enumerate(names.RASHIS)
    if number != MAKARA
)

ALL_RULES: Final = (*RULES, *SMARTA, *VAISHNAVA, VAIKUNTHA, *MONTHLY, *SANKRANTIS)

_ALIASES = {
    "ugadi": "ugadi_gudi_padwa",
    "gudi_padwa": "ugadi_gudi_padwa",
    "hanuman_jayanti_purnima": "hanuman_jayanti",
    "janmashtami_udaya": "janmashtami",
    "janmashtami_vaishnava": "janmashtami",
    "janmashtami_nishita": "janmashtami_smarta",
    "basant_panchami": "vasant_panchami",
    "pitru_paksha": "pitru_paksha_begins",
    "sarva_pitru_amavasya": "mahalaya_amavasya",
    "vijaya_dashami": "dussehra",
    "kojagara": "sharad_purnima",
    "kojagari_purnima": "sharad_purnima",
    "lakshmi_puja": "diwali",
    "parivartini_ekadashi": "parsva_ekadashi",
    "prabodhini_ekadashi": "dev_uthani_ekadashi",
    "ganesh_sankashti": "sankashti_chaturthi",
    "makara_sankranti": "makar_sankranti",
    "baisakhi": "vaisakhi",
    "shakambhari_jayanti": "shakambhari_purnima",
    "guru_ravidas_jayanti": "ravidas_jayanti",
    "maharshi_valmiki_jayanti": "valmiki_jayanti",
    "parshuram_jayanti": "parashurama_jayanti",
    "adi_shankaracharya_jayanti": "shankaracharya_jayanti",
    "naag_panchami": "nag_panchami",
    "maha_shivratri": "maha_shivaratri",
    "maha_ashtami": "durga_ashtami",
    "dev_diwali": "dev_deepawali",
    "chhath": "chhath_puja",
    "devutthana_ekadashi": "dev_uthani_ekadashi",
    "thiruvonam": "onam",
    "thaipusam": "thai_poosam",
}


def _groups() -> dict[str, tuple[Rule, ...]]:
    """Collect the rules under every id, alias and name of a group."""
    by_id: dict[str, tuple[Rule, ...]] = {}
    for rule in ALL_RULES:
        by_id[rule.id] = (*by_id.get(rule.id, ()), rule)
    by_id |= {alias: by_id[festival_id] for alias, festival_id in _ALIASES.items()}
    by_id |= {"ekadashi_smarta": SMARTA, "ekadashi": SMARTA, "ekadashi_vaishnava": VAISHNAVA}
    by_id["putrada_ekadashi"] = by_id["shravana_putrada_ekadashi"] + by_id["pausha_putrada_ekadashi"]
    return by_id


GROUPS: Final = MappingProxyType(_groups())


class UnknownFestival(KeyError):
    """No rule, alias or group has this name."""

    def __str__(self) -> str:
        """Give the sentence as it was written, without the quotes that KeyError puts around it."""
        return str(self.args[0])


def rules_of(festival_id: str) -> tuple[Rule, ...]:
    """Give the rules that an id, an alias or a group's name stands for.

    >>> [rule.tithi for rule in rules_of("pradosh_vrat")]
    [13, 28]
    >>> rules_of("divali")
    Traceback (most recent call last):
    ...
    apps.panchangam.almanac.observances.UnknownFestival: Expected a festival's id, found 'divali'; write 'diwali'?
    """
    if festival_id in GROUPS:
        return GROUPS[festival_id]
    near = get_close_matches(festival_id, GROUPS, n=1)
    advice = f"write {near[0]!r}?" if near else "see the ids in festival_rules and observances."
    raise UnknownFestival(f"Expected a festival's id, found {festival_id!r}; {advice}")


def name_on(rule: Rule, weekday: int) -> str:
    """Give the name that a rule's day bears on a weekday (0 = Monday).

    >>> name_on(rules_of("pradosh_vrat")[0], 5)
    'Shani Pradosh Vrat'
    """
    if rule.id == "pradosh_vrat":
        return f"{_PRADOSH_DAYS[weekday]} {rule.name}"
    if rule.id == "sankashti_chaturthi" and weekday == _TUESDAY:
        return f"Angarki {rule.name}"
    return rule.name
