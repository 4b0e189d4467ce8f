"""Is this moment good? The windows of the almanac that hold an instant, good and bad.

Always true: it reads a day's document and nothing else, so it can never contradict what the document shows.

Not here: which day an instant belongs to (the Hindu day begins with sunrise: `day_of`).
"""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any, Final, TypeAlias

Json: TypeAlias = dict[str, Any]

GOOD: Final = ("brahmaMuhurta", "abhijit", "vijaya")
BAD: Final = ("rahuKalam", "yamaganda", "gulika")


def begins_before(document: Json, at: datetime) -> bool:
    """Say whether the Hindu day of a document has begun at an instant; if not, the day before holds it."""
    return datetime.fromisoformat(document["begin"]) <= at


def moment(document: Json, following: Json, at: datetime) -> Json:
    """Tell what an instant is like, by the documents of its Hindu day and of the next.

    The verdict is `bad` where a bad window holds it, else `good` where a good one does, else `neutral`. The next day's
    document is asked too, because Brahma muhurta lies before the sunrise that it belongs to.
    """
    windows = [window for window in (*_windows(document), *_windows(following)) if _holds(window, at)]
    kinds = {window["kind"] for window in windows}
    return {
        "at": at.isoformat(),
        "verdict": "bad" if "bad" in kinds else "good" if "good" in kinds else "neutral",
        "windows": windows,
        "tithi": _current(document["tithis"], at),
        "nakshatra": _current(document["nakshatras"], at),
        "yoga": _current(document["yogas"], at),
        "karana": _current(document["karanas"], at),
        "choghadiya": _current(document["choghadiya"]["day"] + document["choghadiya"]["night"], at),
        "hora": _current(document["hora"]["day"] + document["hora"]["night"], at),
    }


def _windows(document: Json) -> Iterator[Json]:
    slots = document["slots"]
    for kind, names in (("good", GOOD), ("bad", BAD)):
        for name in names:
            if slots[name] is not None:
                yield {"name": name, "kind": kind, **slots[name]}
    for kind, name, spans in (
        ("bad", "durMuhurta", slots["durMuhurta"]),
        ("bad", "varjyam", document["varjyam"]),
        ("bad", "bhadra", document["bhadra"]),
        ("good", "amritKalam", document["amritKalam"]),
    ):
        for span in spans:
            yield {"name": name, "kind": kind, **span}
    for part in (*document["choghadiya"]["day"], *document["choghadiya"]["night"]):
        yield {
            "name": f"{part['name']} choghadiya",
            "kind": part["quality"],
            "start": part["start"],
            "end": part["end"],
        }


def _current(spans: list[Json], at: datetime) -> Json | None:
    return next((span for span in spans if _holds(span, at)), None)


def _holds(span: Json, at: datetime) -> bool:
    if span["start"] is None or span["end"] is None:  # a polar day has no such window
        return False
    return datetime.fromisoformat(span["start"]) <= at < datetime.fromisoformat(span["end"])


ONE_DAY: Final = timedelta(days=1)
