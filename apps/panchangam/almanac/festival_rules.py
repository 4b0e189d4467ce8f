"""The festivals as data: one `Rule` a row, grouped by the part of the year they fall in.

Always true: a rule says which limb is looked for (a tithi of a lunar month, a nakshatra of a solar month, or an entry
of the Sun into a sign), in which window of the day, and what happens when two days or none have it; an id of this
table is unique; months are amanta and nija, counted from 0 = Chaitra.

Not here: how a day is chosen (festival_days), the observances of every month (observances), dates that an authority
prints although the rule gives another (overrides).
"""

from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Literal

Kind = Literal["festival", "vrat", "observance", "sankranti"]
Window = Literal[
    "sunrise", "sunset", "midnight", "moonrise",
    "pratah", "madhyahna", "aparahna", "sayahna", "purvahna", "nine_muhurtas",
    "pradosha", "nishita", "arunodaya",
]  # fmt: skip
Two = Literal["first", "last", "more"]
Lack = Literal["start", "next"]
Leap = Literal["nija", "adhika", "any"]
Method = Literal[
    "window", "holds3", "ram_navami", "nag_panchami", "govardhan", "dussehra", "holika", "vaishnava",
    "star", "cut", "civil",
]  # fmt: skip

CHAITRA, VAISHAKHA, JYESHTHA, ASHADHA, SHRAVANA, BHADRAPADA = range(6)
ASHWINA, KARTIKA, MARGASHIRSHA, PAUSHA, MAGHA, PHALGUNA = range(6, 12)
MESHA, KARKA, SIMHA, KANYA, VRISHCHIKA, DHANU, MAKARA, MEENA = 0, 3, 4, 5, 7, 8, 9, 11
KRITTIKA, PUSHYA, UTTARA_PHALGUNI, SHRAVANA_STAR = 3, 8, 12, 22
FRIDAY: Final = 4  # as date.weekday() counts


@dataclass(frozen=True, slots=True, kw_only=True)
class Region:
    """A region that keeps one calendar, computed for its main place.

    >>> REGIONS["tamil_nadu"].main_city
    'chennai'
    """

    name: str
    main_city: str  # slug of a city, or the name of the point that stands for the whole country
    lat: float
    lon: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """How the date of one festival follows from the sky.

    >>> diwali = next(rule for rule in RULES if rule.id == "diwali")
    >>> diwali.window, diwali.two, diwali.none
    ('pradosha', 'more', 'start')
    """

    id: str
    name: str
    region: str = "national"
    kind: Kind = "festival"
    method: Method = "window"
    month: int | None = None  # None: every lunar month
    leap: Leap = "nija"  # which months of that name count
    tithi: int = 0  # 1 to 30; 0: not a rule of the Moon's day
    window: Window = "sunrise"
    two: Two = "first"  # when the limb meets the window on two days
    none: Lack = "start"  # when it meets it on none: the day it begins, or the day after
    sign: int = -1  # the sidereal sign the Sun enters, or stands in on the day; -1: any
    star: int = 0  # nakshatra 1 to 27; 0: not a rule of the stars
    shift: int = 0  # days added after the choice
    weekday: int | None = None  # the last such day on or before the choice
    note: str = ""


REGIONS: Final = MappingProxyType(
    {
        "national": Region(name="India", main_city="india", lat=23 + 11 / 60, lon=82.5),
        "north": Region(name="North India", main_city="delhi", lat=28.6519, lon=77.2315),
        "west": Region(name="Maharashtra and the South", main_city="mumbai", lat=19.0728, lon=72.8826),
        "gujarat": Region(name="Gujarat", main_city="ahmedabad", lat=23.0258, lon=72.5873),
        "bengal": Region(name="Bengal", main_city="kolkata", lat=22.5626, lon=88.363),
        "bihar": Region(name="Bihar", main_city="patna", lat=25.5941, lon=85.1356),
        "tamil_nadu": Region(name="Tamil Nadu", main_city="chennai", lat=13.0878, lon=80.2785),
        "kerala": Region(name="Kerala", main_city="thiruvananthapuram", lat=8.4855, lon=76.9492),
    }
)

LUNAR: Final = (
    # Chaitra
    Rule(id="ugadi_gudi_padwa", name="Ugadi, Gudi Padwa", month=CHAITRA, tithi=1, region="west"),
    Rule(id="chaitra_navratri", name="Chaitra Navratri begins", month=CHAITRA, tithi=1, region="north"),
    Rule(id="cheti_chand", name="Cheti Chand", month=CHAITRA, tithi=1, region="north"),
    Rule(id="gangaur", name="Gangaur", month=CHAITRA, tithi=3, region="north", kind="vrat"),
    Rule(id="matsya_jayanti", name="Matsya Jayanti", month=CHAITRA, tithi=3, window="madhyahna", region="north"),
    Rule(
        id="ram_navami", name="Ram Navami", month=CHAITRA, tithi=9, window="madhyahna",
        region="north", method="ram_navami", two="more",
    ),
    Rule(id="mahavir_jayanti", name="Mahavir Jayanti", month=CHAITRA, tithi=13, region="north"),
    Rule(id="hanuman_jayanti", name="Hanuman Jayanti", month=CHAITRA, tithi=15, region="north"),
    Rule(id="vallabhacharya_jayanti", name="Vallabhacharya Jayanti", month=CHAITRA, tithi=26, region="north"),
    # Vaishakha
    Rule(
        id="akshaya_tritiya", name="Akshaya Tritiya", month=VAISHAKHA, tithi=3, window="pratah",
        region="north", method="holds3",
    ),
    Rule(
        id="parashurama_jayanti", name="Parashurama Jayanti", month=VAISHAKHA, tithi=3, window="pradosha",
        region="north", two="last",
    ),
    Rule(id="shankaracharya_jayanti", name="Shankaracharya Jayanti", month=VAISHAKHA, tithi=5, region="north"),
    Rule(
        id="narasimha_jayanti", name="Narasimha Jayanti", month=VAISHAKHA, tithi=14, window="sayahna",
        region="north", two="last",
    ),
    Rule(id="buddha_purnima", name="Buddha Purnima", month=VAISHAKHA, tithi=15, region="north"),
    Rule(id="vat_savitri", name="Vat Savitri", month=VAISHAKHA, tithi=30, window="sunset", region="north", kind="vrat"),
    Rule(id="shani_jayanti", name="Shani Jayanti", month=VAISHAKHA, tithi=30, region="north"),
    # Jyeshtha
    Rule(id="maharana_pratap_jayanti", name="Maharana Pratap Jayanti", month=JYESHTHA, tithi=3, region="north"),
    Rule(id="mahesh_navami", name="Mahesh Navami", month=JYESHTHA, tithi=9, region="north"),
    Rule(id="ganga_dussehra", name="Ganga Dussehra", month=JYESHTHA, tithi=10, region="north"),
    Rule(id="kabir_jayanti", name="Kabir Jayanti", month=JYESHTHA, tithi=15, region="north"),
    Rule(id="vat_purnima", name="Vat Purnima", month=JYESHTHA, tithi=15, region="west", kind="vrat"),
    # Ashadha
    Rule(id="rath_yatra", name="Rath Yatra", month=ASHADHA, tithi=2),
    Rule(id="guru_purnima", name="Guru Purnima", month=ASHADHA, tithi=15, region="north"),
    Rule(id="hariyali_amavasya", name="Hariyali Amavasya", month=ASHADHA, tithi=30, region="north"),
    # Shravana
    Rule(id="hariyali_teej", name="Hariyali Teej", month=SHRAVANA, tithi=3, region="north", kind="vrat"),
    Rule(
        id="nag_panchami", name="Nag Panchami", month=SHRAVANA, tithi=5, region="north", method="nag_panchami",
        note="Gujarat keeps Krishna Panchami, a fortnight later.",
    ),
    Rule(id="tulsidas_jayanti", name="Tulsidas Jayanti", month=SHRAVANA, tithi=7, region="north"),
    Rule(
        id="varalakshmi_vratam", name="Varalakshmi Vratam", month=SHRAVANA, tithi=15,
        region="tamil_nadu", kind="vrat", weekday=FRIDAY,
    ),
    Rule(
        id="raksha_bandhan", name="Raksha Bandhan", month=SHRAVANA, tithi=15, window="pratah",
        region="north", method="holds3",
    ),
    Rule(id="kajari_teej", name="Kajari Teej", month=SHRAVANA, tithi=18, region="north", kind="vrat"),
    Rule(id="hal_shashthi", name="Hal Shashthi", month=SHRAVANA, tithi=21, region="north", kind="vrat"),
    Rule(
        id="janmashtami_smarta", name="Janmashtami (Smarta)", month=SHRAVANA, tithi=23, window="nishita",
        region="north", two="last",
        note="The Vaishnava day is that of Ashtami at sunrise.",
    ),
    Rule(
        id="janmashtami", name="Janmashtami", month=SHRAVANA, tithi=23, region="north",
        note="The gazetted, Vaishnava day. Smartas keep Ashtami at nishita.",
    ),
    # Bhadrapada
    Rule(
        id="hartalika_teej", name="Hartalika Teej", month=BHADRAPADA, tithi=3,
        region="north", kind="vrat", two="last",
    ),
    Rule(
        id="ganesh_chaturthi", name="Ganesh Chaturthi", month=BHADRAPADA, tithi=4, window="madhyahna",
        region="west", two="more",
    ),
    Rule(
        id="rishi_panchami", name="Rishi Panchami", month=BHADRAPADA, tithi=5, window="madhyahna",
        region="north", kind="vrat",
    ),
    Rule(
        id="radha_ashtami", name="Radha Ashtami", month=BHADRAPADA, tithi=8, window="madhyahna",
        region="north", two="more",
    ),
    Rule(id="anant_chaturdashi", name="Anant Chaturdashi", month=BHADRAPADA, tithi=14, region="west"),
    Rule(
        id="pitru_paksha_begins", name="Pitru Paksha begins", month=BHADRAPADA, tithi=16, window="aparahna",
        region="north", kind="observance", two="more",
    ),
    Rule(
        id="mahalaya_amavasya", name="Mahalaya Amavasya", month=BHADRAPADA, tithi=30, window="aparahna",
        region="north", kind="observance", two="more",
    ),
    # Ashwina
    Rule(id="sharad_navratri", name="Sharad Navratri begins", month=ASHWINA, tithi=1, region="north"),
    Rule(id="durga_puja_shashthi", name="Durga Puja: Maha Shashthi", month=ASHWINA, tithi=6, region="bengal"),
    Rule(id="durga_puja_saptami", name="Durga Puja: Maha Saptami", month=ASHWINA, tithi=7, region="bengal"),
    Rule(id="durga_puja_ashtami", name="Durga Puja: Maha Ashtami", month=ASHWINA, tithi=8, region="bengal"),
    Rule(id="durga_puja_navami", name="Durga Puja: Maha Navami", month=ASHWINA, tithi=9, region="bengal"),
    Rule(id="durga_puja_dashami", name="Durga Puja: Vijaya Dashami", month=ASHWINA, tithi=10, region="bengal"),
    Rule(id="durga_ashtami", name="Durga Ashtami", month=ASHWINA, tithi=8, region="north"),
    Rule(id="maha_navami", name="Maha Navami", month=ASHWINA, tithi=9, window="aparahna", region="north"),
    Rule(
        id="dussehra", name="Dussehra", month=ASHWINA, tithi=10, window="aparahna",
        region="north", method="dussehra", two="more",
    ),
    Rule(
        id="sharad_purnima", name="Sharad Purnima (Kojagara)", month=ASHWINA, tithi=15, window="midnight",
        region="north",
    ),
    Rule(
        id="kojagari_lakshmi_puja", name="Kojagari Lakshmi Puja", month=ASHWINA, tithi=15, window="pradosha",
        region="bengal",
    ),
    Rule(id="valmiki_jayanti", name="Valmiki Jayanti", month=ASHWINA, tithi=15, region="north"),
    Rule(
        id="karwa_chauth", name="Karwa Chauth", month=ASHWINA, tithi=19, window="moonrise",
        region="north", kind="vrat", none="next",
    ),
    Rule(
        id="ahoi_ashtami", name="Ahoi Ashtami", month=ASHWINA, tithi=23, window="pradosha",
        region="north", kind="vrat",
    ),
    Rule(id="dhanteras", name="Dhanteras", month=ASHWINA, tithi=28, window="pradosha", region="north", two="more"),
    Rule(
        id="naraka_chaturdashi", name="Naraka Chaturdashi", month=ASHWINA, tithi=29, window="arunodaya",
        region="north", two="last",
    ),
    Rule(
        id="diwali", name="Diwali (Lakshmi Puja)", month=ASHWINA, tithi=30, window="pradosha",
        region="north", two="more",
    ),
    Rule(id="kali_puja", name="Kali Puja", month=ASHWINA, tithi=30, window="nishita", region="bengal", two="more"),
    # Kartika
    Rule(
        id="govardhan_puja", name="Govardhan Puja", month=KARTIKA, tithi=1, window="nine_muhurtas",
        region="north", method="govardhan",
    ),
    Rule(id="gujarati_new_year", name="Gujarati New Year", month=KARTIKA, tithi=1, region="gujarat"),
    Rule(id="bhai_dooj", name="Bhai Dooj", month=KARTIKA, tithi=2, window="aparahna", region="north", two="more"),
    Rule(id="chhath_puja", name="Chhath Puja", month=KARTIKA, tithi=6, region="bihar"),
    Rule(id="jagaddhatri_puja", name="Jagaddhatri Puja", month=KARTIKA, tithi=9, region="bengal"),
    Rule(id="tulsi_vivah", name="Tulsi Vivah", month=KARTIKA, tithi=12, region="north"),
    Rule(id="guru_nanak_jayanti", name="Guru Nanak Jayanti", month=KARTIKA, tithi=15, region="north"),
    Rule(
        id="dev_deepawali", name="Dev Deepawali", month=KARTIKA, tithi=15, window="pradosha",
        region="north", two="last",
    ),
    # Margashirsha To Phalguna
    Rule(id="gita_jayanti", name="Gita Jayanti", month=MARGASHIRSHA, tithi=11, region="north"),
    Rule(
        id="dattatreya_jayanti", name="Dattatreya Jayanti", month=MARGASHIRSHA, tithi=15, window="pradosha",
        region="west", two="last",
    ),
    Rule(id="guru_gobind_singh_jayanti", name="Guru Gobind Singh Jayanti", month=PAUSHA, tithi=7, region="north"),
    Rule(id="shakambhari_purnima", name="Shakambhari Purnima", month=PAUSHA, tithi=15, region="north"),
    Rule(
        id="sakat_chauth", name="Sakat Chauth", month=PAUSHA, tithi=19, window="moonrise",
        region="north", kind="vrat", none="next",
    ),
    Rule(id="mauni_amavasya", name="Mauni Amavasya", month=PAUSHA, tithi=30, region="north"),
    Rule(id="vasant_panchami", name="Vasant Panchami", month=MAGHA, tithi=5, window="purvahna", region="north"),
    Rule(id="saraswati_puja", name="Saraswati Puja", month=MAGHA, tithi=5, window="purvahna", region="bengal"),
    Rule(
        id="ratha_saptami", name="Ratha Saptami", month=MAGHA, tithi=7, window="arunodaya",
        region="north", two="last",
    ),
    Rule(id="ravidas_jayanti", name="Ravidas Jayanti", month=MAGHA, tithi=15, region="north"),
    Rule(id="dayanand_saraswati_jayanti", name="Dayanand Saraswati Jayanti", month=MAGHA, tithi=25, region="north"),
    Rule(id="maha_shivaratri", name="Maha Shivaratri", month=MAGHA, tithi=29, window="nishita", region="north"),
    Rule(
        id="holika_dahan", name="Holika Dahan", month=PHALGUNA, tithi=15, window="pradosha",
        region="north", method="holika", two="last",
    ),
    Rule(
        id="holi", name="Holi", month=PHALGUNA, tithi=15, window="pradosha",
        region="north", method="holika", two="last", shift=1,
    ),
)  # fmt: skip

SOLAR: Final = (
    Rule(id="makar_sankranti", name="Makar Sankranti", sign=MAKARA, method="cut", window="sunset", region="north"),
    Rule(id="pongal", name="Thai Pongal", sign=MAKARA, method="cut", window="sunset", region="tamil_nadu"),
    Rule(id="uttarayan", name="Uttarayan", sign=MAKARA, method="cut", window="sunset", region="gujarat"),
    Rule(id="lohri", name="Lohri", sign=MAKARA, method="cut", window="sunset", region="north", shift=-1),
    Rule(id="bhogi", name="Bhogi", sign=MAKARA, method="cut", window="sunset", region="tamil_nadu", shift=-1),
    Rule(id="puthandu", name="Puthandu", sign=MESHA, method="cut", window="sunset", region="tamil_nadu"),
    Rule(id="vishu", name="Vishu", sign=MESHA, method="cut", window="sunrise", region="kerala"),
    Rule(id="vaisakhi", name="Vaisakhi", sign=MESHA, method="civil", region="north"),
    Rule(id="pohela_boishakh", name="Pohela Boishakh", sign=MESHA, method="civil", region="bengal", shift=1),
    Rule(id="vishwakarma_puja", name="Vishwakarma Puja", sign=KANYA, method="cut", window="sunset", region="north"),
    Rule(
        id="aadi_perukku", name="Aadi Perukku", sign=KARKA, method="cut", window="sunset",
        region="tamil_nadu", shift=17, note="Wall calendars of the Vakya school can be a day later.",
    ),
    Rule(id="onam", name="Onam (Thiruvonam)", sign=SIMHA, method="star", region="kerala", star=SHRAVANA_STAR),
    Rule(id="thai_poosam", name="Thai Poosam", sign=MAKARA, method="star", region="tamil_nadu", star=PUSHYA),
    Rule(
        id="karthigai_deepam", name="Karthigai Deepam", sign=VRISHCHIKA, method="star",
        region="tamil_nadu", star=KRITTIKA, window="pradosha",
    ),
    Rule(
        id="panguni_uthiram", name="Panguni Uthiram", sign=MEENA, method="star",
        region="tamil_nadu", star=UTTARA_PHALGUNI,
    ),
)  # fmt: skip

RULES: Final = LUNAR + SOLAR
