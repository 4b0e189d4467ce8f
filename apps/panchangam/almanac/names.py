"""The names of everything the almanac counts.

Always true: a list is in counting order; lists of limbs are read with `index - 1`, lists of signs and months with the
index itself.

Not here: names in Indian scripts.
"""

_COUNTED = (
    "Pratipada Dwitiya Tritiya Chaturthi Panchami Shashthi Saptami Ashtami Navami Dashami Ekadashi Dwadashi "
    "Trayodashi Chaturdashi"
).split()

PAKSHAS = ("Shukla", "Krishna")
TITHI_NAMES = (*_COUNTED, "Purnima", *_COUNTED, "Amavasya")
TITHIS = tuple(f"{PAKSHAS[number // 15]} {name}" for number, name in enumerate(TITHI_NAMES))

NAKSHATRAS = (
    "Ashwini",
    "Bharani",
    "Krittika",
    "Rohini",
    "Mrigashira",
    "Ardra",
    "Punarvasu",
    "Pushya",
    "Ashlesha",
    "Magha",
    "Purva Phalguni",
    "Uttara Phalguni",
    "Hasta",
    "Chitra",
    "Swati",
    "Vishakha",
    "Anuradha",
    "Jyeshtha",
    "Mula",
    "Purva Ashadha",
    "Uttara Ashadha",
    "Shravana",
    "Dhanishta",
    "Shatabhisha",
    "Purva Bhadrapada",
    "Uttara Bhadrapada",
    "Revati",
)

YOGAS = tuple(
    (
        "Vishkambha Priti Ayushman Saubhagya Shobhana Atiganda Sukarma Dhriti Shula Ganda Vriddhi Dhruva Vyaghata "
        "Harshana Vajra Siddhi Vyatipata Variyana Parigha Shiva Siddha Sadhya Shubha Shukla Brahma Indra Vaidhriti"
    ).split()
)

BHADRA = "Vishti"
_MOVING = ("Bava", "Balava", "Kaulava", "Taitila", "Gara", "Vanija", BHADRA)
KARANAS = ("Kimstughna", *(_MOVING * 8), "Shakuni", "Chatushpada", "Naga")

# Sunday first.
VARAS = ("Ravivara", "Somavara", "Mangalavara", "Budhavara", "Guruvara", "Shukravara", "Shanivara")
WEEKDAYS = ("Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday")

MONTHS = tuple(
    (
        "Chaitra Vaishakha Jyeshtha Ashadha Shravana Bhadrapada Ashwina Kartika Margashirsha Pausha Magha Phalguna"
    ).split()
)
RASHIS = tuple("Mesha Vrishabha Mithuna Karka Simha Kanya Tula Vrischika Dhanu Makara Kumbha Meena".split())
RITUS = ("Vasanta", "Grishma", "Varsha", "Sharad", "Hemanta", "Shishira")
UTTARAYANA, DAKSHINAYANA = "Uttarayana", "Dakshinayana"

SAMVATSARAS = tuple(
    (
        "Prabhava Vibhava Shukla Pramoda Prajapati Angirasa Shrimukha Bhava Yuva Dhata Ishvara Bahudhanya Pramathi "
        "Vikrama Vrisha Chitrabhanu Subhanu Tarana Parthiva Vyaya Sarvajit Sarvadhari Virodhi Vikriti Khara Nandana "
        "Vijaya Jaya Manmatha Durmukha Hevilambi Vilambi Vikari Sharvari Plava Shubhakrit Shobhakrit Krodhi "
        "Vishvavasu Parabhava Plavanga Kilaka Saumya Sadharana Virodhikrit Paridhavi Pramadi Ananda Rakshasa Nala "
        "Pingala Kalayukta Siddharthi Raudra Durmati Dundubhi Rudhirodgari Raktakshi Krodhana Akshaya"
    ).split()
)

# Months of the solar calendars, from Mesha on.
TAMIL_MONTHS = tuple(
    "Chithirai Vaikasi Aani Aadi Aavani Purattasi Aippasi Karthigai Margazhi Thai Maasi Panguni".split()
)
MALAYALAM_MONTHS = tuple(
    "Medam Edavam Mithunam Karkidakam Chingam Kanni Thulam Vrischikam Dhanu Makaram Kumbham Meenam".split()
)
BENGALI_MONTHS = tuple(
    "Boishakh Joishtho Asharh Srabon Bhadro Ashwin Kartik Ogrohayon Poush Magh Falgun Choitro".split()
)
ODIA_MONTHS = tuple(
    "Baisakha Jyestha Asadha Srabana Bhadraba Aswina Kartika Margasira Pausa Magha Phalguna Chaitra".split()
)
PUNJABI_MONTHS = tuple("Vaisakh Jeth Harh Sawan Bhadon Assu Katak Maghar Poh Magh Phagun Chet".split())
# Months of the Indian national calendar, from 21 or 22 March on.
SAKA_MONTHS = tuple(
    "Chaitra Vaisakha Jyaistha Asadha Sravana Bhadra Asvina Kartika Agrahayana Pausa Magha Phalguna".split()
)

CHOGHADIYAS = ("Udveg", "Chal", "Labh", "Amrit", "Kaal", "Shubh", "Rog")
CHOGHADIYA_QUALITIES = {"Amrit": "good", "Shubh": "good", "Labh": "good", "Chal": "neutral"}  # the others are bad
HORA_LORDS = ("Sun", "Venus", "Mercury", "Moon", "Saturn", "Jupiter", "Mars")

MOON_PHASES = (
    "New Moon",
    "Waxing Crescent",
    "First Quarter",
    "Waxing Gibbous",
    "Full Moon",
    "Waning Gibbous",
    "Last Quarter",
    "Waning Crescent",
)


def month_title(name_index: int, *, adhika: bool = False, kshaya_second: int | None = None) -> str:
    """Give a lunar month's name as almanacs print it: `Adhika Jyeshtha`, `Pausha-Magha`."""
    if kshaya_second is not None:
        return f"{MONTHS[name_index]}-{MONTHS[kshaya_second]}"
    return f"Adhika {MONTHS[name_index]}" if adhika else MONTHS[name_index]
