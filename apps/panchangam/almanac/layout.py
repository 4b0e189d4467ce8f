"""The shape of a day's document: JSON with named holes, one for each weekday.

Always true: this is the only description of the document; a single document and ten thousand of them are poured from
it; each hole is filled with ready JSON.

Not here: what goes into the holes (document).
"""

import re
from functools import cache
from typing import TypeAlias

import orjson

from apps.panchangam.almanac import names, slots

SCHEMA_VERSION = 1  # `v` of every document; goes up when a field changes its meaning or goes
ENGINE = "rota-almanac/1 de421 lahiri"

Json: TypeAlias = "dict[str, Json] | list[Json] | str | int | float | bool | None"

# Spliced holes hold members of the document itself, without the braces around them.
SPLICED = ("limbs", "calendar", "positions")
SPANS = (
    "rahuKalam",
    "yamaganda",
    "gulika",
    "abhijit",
    "brahmaMuhurta",
    "pratahSandhya",
    "sayamSandhya",
    "vijaya",
    "godhuli",
    "nishita",
    "pradosha",
)
WITHOUT_ABHIJIT = slots.WEDNESDAY
TWO_DUR_MUHURTAS = (1, 2, 4, 5, 6)  # weekdays, 0 = Sunday

CONVENTIONS: dict[str, Json] = {
    "ayanamsa": "Lahiri (Chitrapaksha)",
    "day": "sunrise to next sunrise; where there is none, local midnight to midnight",
    "moon": "first moonrise and moonset in the day",
    "horizon": "sea level",
    "ephemeris": "JPL DE421",
    "coordinates": "GeoNames, CC-BY 4.0",
}
SUNRISE = {
    False: "upper limb, refraction 34 arcminutes",
    True: "centre of the disc, no refraction",
}


@cache
def template(week: int, *, hindu: bool) -> bytes:
    """Give the document of a weekday (0 = Sunday) with `%(name)b` where something must be filled in."""
    text = orjson.dumps(_structure(week, hindu=hindu))
    for name in SPLICED:
        text = text.replace(f'"{name}":"%({name})b"'.encode(), f"%({name})b".encode())
    return re.sub(rb'"(%\([\w.]+\)b)"', rb"\1", text)


def _structure(week: int, *, hindu: bool) -> Json:
    conventions: dict[str, Json] = {"sunrise": SUNRISE[hindu], **CONVENTIONS}
    return {
        "v": SCHEMA_VERSION,
        "engine": ENGINE,
        "status": _hole("status"),
        "date": _hole("date"),
        "place": _hole("place"),
        "conventions": conventions,
        "vara": {"index": week + 1, "name": names.VARAS[week], "weekday": names.WEEKDAYS[week]},
        "begin": _hole("begin"),
        "end": _hole("end"),
        **{name: _hole(name) for name in INSTANTS},
        **{name: _hole(name) for name in SPLICED},
        "slots": _slots(week),
        "choghadiya": _choghadiya(week),
        "hora": _hora(week),
    }


INSTANTS = ("sunrise", "sunset", "nextSunrise", "previousSunset", "moonrise", "moonset")


def _hole(name: str) -> str:
    return f"%({name})b"


def _span(name: str) -> dict[str, Json]:
    return {"start": _hole(f"{name}.start"), "end": _hole(f"{name}.end")}


def _slots(week: int) -> dict[str, Json]:
    spans: dict[str, Json] = {name: _span(name) for name in SPANS}
    if week == WITHOUT_ABHIJIT:
        spans["abhijit"] = None
    second = [_span("durMuhurta2")] if week in TWO_DUR_MUHURTAS else []
    spans["durMuhurta"] = [_span("durMuhurta1"), *second]
    return spans


def _choghadiya(week: int) -> dict[str, Json]:
    parts: list[Json] = [
        {
            "name": name,
            "quality": names.CHOGHADIYA_QUALITIES.get(name, "bad"),
            "start": _hole(f"choghadiya.{number}"),
            "end": _hole(f"choghadiya.{number + 1}"),
        }
        for number, name in enumerate(slots.choghadiyas(week))
    ]
    return {"day": parts[: slots.EIGHTHS], "night": parts[slots.EIGHTHS :]}


def _hora(week: int) -> dict[str, Json]:
    parts: list[Json] = [
        {"lord": lord, "start": _hole(f"hora.{number}"), "end": _hole(f"hora.{number + 1}")}
        for number, lord in enumerate(slots.horas(week))
    ]
    return {"day": parts[: slots.HORAS], "night": parts[slots.HORAS :]}
