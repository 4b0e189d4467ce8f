"""What the almanac answers to a row of a reference file, under the file's column names.

Always true: an instant is a float of Unix seconds, `nan` when there is no such event; everything else is text or a
whole number as the file writes it. The file's clock is Indian time, wherever the place is.

Not here: comparing (reference).
"""

from collections.abc import Callable, Mapping
from datetime import date, datetime
from typing import TypeAlias

from apps.panchangam.almanac import names, slots, windows, years
from apps.panchangam.almanac.facts import DayFacts, facts_of, sky_around
from apps.panchangam.almanac.lunations import lunations_between, months_of, sankrantis_between
from apps.panchangam.almanac.records import DAY_S, INDIAN_ZONE, Intervals, Place, zone_of
from apps.panchangam.cities import city

Row: TypeAlias = Mapping[str, str]
Answer: TypeAlias = "float | int | str | None"
Answers: TypeAlias = dict[str, Answer]

INDIAN_LONGITUDES = (60.0, 105.0)  # degrees: within these a row keeps the Indian date
LISTED = 3  # stretches of a limb that a row has columns for
SLOTS = {
    "rahu_kalam": "rahuKalam",
    "yamaganda": "yamaganda",
    "gulika": "gulika",
    "abhijit": "abhijit",
    "brahma": "brahmaMuhurta",
    "nishita": "nishita",
    "pratah_sandhya": "pratahSandhya",
    "sayam_sandhya": "sayamSandhya",
    "vijaya": "vijaya",
    "godhuli": "godhuli",
    "pradosha": "pradosha",
}


def instant(text: str) -> float:
    """Read an instant on the Indian clock."""
    return datetime.fromisoformat(text).replace(tzinfo=zone_of(INDIAN_ZONE)).timestamp()


def _panchang(row: Row) -> Answers:
    day = date.fromisoformat(row["date"])
    place = _place(row)
    facts = facts_of(sky_around(day), [place], day, day)
    return _risings(facts) | _limbs(facts) | _calendar(facts) | _positions(facts) | _slots(facts)


def _place(row: Row) -> Place:
    """Make the place of a row; far from India its date is that of the nearest whole-hour zone."""
    if not row["lat"]:
        return city(row["city"]).place
    lat, lon = float(row["lat"]), float(row["lon"])
    west, east = INDIAN_LONGITUDES
    zone = INDIAN_ZONE if west <= lon <= east else f"Etc/GMT{-round(lon / 15):+d}"
    return Place(lat=lat, lon=lon, zone=zone)


def _risings(facts: DayFacts) -> Answers:
    table = facts.table
    columns = ("sunrise", "sunset", "next_sunrise", "moonrise", "moonset")
    vara = names.VARAS[slots.weekday(table.dates[0])]
    return {column: float(getattr(table, column)[0, 0]) for column in columns} | {"vara": vara}


def _limbs(facts: DayFacts) -> Answers:
    answers: Answers = {}
    sky = facts.sky
    limbs: dict[str, tuple[Intervals, tuple[str, ...]]] = {
        "tithi": (sky.tithis, names.TITHIS),
        "nakshatra": (sky.nakshatras, names.NAKSHATRAS),
        "yoga": (sky.yogas, names.YOGAS),
        "karana": (sky.karanas, names.KARANAS),
    }
    for name, (limb, listed) in limbs.items():
        low, high = (int(edge[0, 0]) for edge in facts.touching(limb))
        answers[f"{name}_count"] = high - low
        # Printed tables go on counting after the day has ended.
        for number, position in enumerate(range(low, max(high, low + LISTED)), start=1):
            index = int(limb.index[position])
            answers[f"{name}{number}"] = index
            answers[f"{name}{number}_name"] = listed[index - 1]
            answers[f"{name}{number}_start"] = float(limb.start[position])
            answers[f"{name}{number}_end"] = float(limb.end[position])
    return answers


def _calendar(facts: DayFacts) -> Answers:
    month = facts.sky.months[int(facts.month[0, 0])]
    krishna = bool(facts.krishna[0, 0])
    era = years.eras(month)
    tropical, sidereal = float(facts.tropical[0, 0]), float(facts.sun[0, 0])
    return {
        "paksha": names.PAKSHAS[krishna],
        "masa_amanta": names.month_title(month.name_index, adhika=month.adhika, kshaya_second=month.kshaya_second),
        "masa_purnimanta": years.purnimanta(month, krishna=krishna),
        "adhika_masa": int(month.adhika),
        "shaka_year": era.shaka,
        "vikram_year": era.vikram,
        "samvatsara_south": era.south,
        "samvatsara_north": era.north,
        "drik_ritu": years.drik_ritu(tropical),
        "vedic_ritu": years.vedic_ritu(sidereal),
        "drik_ayana": years.ayana(tropical),
        "vedic_ayana": years.ayana(sidereal),
    }


def _positions(facts: DayFacts) -> Answers:
    sun, moon = float(facts.sun[0, 0]), float(facts.moon[0, 0])
    pada = int(facts.at_begin(facts.sky.padas)[0, 0])
    return {
        "sun_lon": sun,
        "moon_lon": moon,
        "ayanamsa": float(facts.ayanamsa[0, 0]),
        "surya_rashi": names.RASHIS[int(sun // 30)],
        "chandra_rashi": names.RASHIS[(pada - 1) // 9],
        "nakshatra_pada": (pada - 1) % 4 + 1,
    }


def _slots(facts: DayFacts) -> Answers:
    found = slots.day_slots(facts.table)
    # Tables print the eighth muhurta on a Wednesday too, though it is no Abhijit then.
    found["abhijit"] = windows.abhijit(facts.table.sunrise, facts.table.sunset)
    answers: Answers = {}
    for column, name in SLOTS.items():
        span = found[name]
        answers[f"{column}_start"], answers[f"{column}_end"] = float(span.start[0, 0]), float(span.end[0, 0])
    return answers


def _masa(row: Row) -> Answers:
    begun = instant(row["start"] or row["date"])
    months = months_of(lunations_between(begun - DAY_S, begun + DAY_S))
    month = min(months, key=lambda candidate: abs(candidate.start - begun))
    era = years.eras(month)
    return {
        "start": month.start,
        "end": month.end,
        "masa_amanta": names.month_title(month.name_index, adhika=month.adhika, kshaya_second=month.kshaya_second),
        "adhika_masa": int(month.adhika),
        "shaka_year": era.shaka,
        "vikram_year": era.vikram,
    }


def _sankranti(row: Row) -> Answers:
    begun = instant(row["start"] or row["date"])
    entry = min(sankrantis_between(begun - DAY_S, begun + DAY_S), key=lambda candidate: abs(candidate.at - begun))
    return {"start": entry.at, "surya_rashi": names.RASHIS[entry.rashi]}


ANSWERS: dict[str, Callable[[Row], Answers]] = {
    "panchang": _panchang,
    "panchang_published": _panchang,
    "masa": _masa,
    "sankranti": _sankranti,
}
