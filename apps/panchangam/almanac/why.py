"""Why this day: the rule in words, and one sentence for each way in which a day can win.

Always true: a sentence names the limb, the window and the days it compares; a share that is neither none nor all of
the window is never rounded to 0 or 100 per cent.

Not here: the choice itself (festival_days).
"""

from datetime import date
from typing import Final

from apps.panchangam.almanac import names
from apps.panchangam.almanac.festival_days import Reason
from apps.panchangam.almanac.festival_rules import Rule

WINDOW_NAMES: Final = {
    "pratah": "the first three muhurtas of the day",
    "nine_muhurtas": "the first nine muhurtas of the day",
}

_SENTENCES: Final = {
    Reason.ONLY: "{limb} meets {window} on {day} alone.",
    Reason.FIRST: "{limb} meets {window} on {low} and {high}; the rule takes the first.",
    Reason.LAST: "{limb} meets {window} on {low} and {high}; the rule takes the last.",
    Reason.MORE: "{limb} covers {p} % of {window} on {low} and {q} % on {high}; the larger share decides.",
    Reason.EQUAL: "{limb} covers {p} % of {window} on {low} and as much on {high}; of equals the first is kept.",
    Reason.NONE_START: "{limb} meets {window} on no day; the day on which it begins, {day}, is kept.",
    Reason.NONE_NEXT: "{limb} meets {window} on no day; the day after it begins, {day}, is kept.",
    Reason.HOLDS: "{limb} holds {window} on {day}.",
    Reason.DOES_NOT_HOLD: "{limb} does not hold {window} on any day; the day on which it begins, {day}, is kept.",
    Reason.WHOLE: "{limb} meets {window} on {low} and {high} and covers one of them wholly; the second is kept.",
    Reason.EARLY: (
        "{limb} ends within three muhurtas of the sunrise that has it and began within the first three "
        "of the day before; the earlier day, {day}, is kept."
    ),
    Reason.STAR: "{limb} meets {window} on {low} and {high}; only {day} has Shravana nakshatra in it.",
    Reason.STAR_SECOND: (
        "{limb} meets {window} on {before} alone, but lasts three muhurtas on {day}, and only {day} has "
        "Shravana nakshatra in the window."
    ),
    Reason.NO_WINDOW: "{limb} counts in {window} on no day; the day of its sunrise, {day}, is kept.",
    Reason.BHADRA: (
        "{limb} meets {window} on {before} alone, but Bhadra covers part of it and lasts past midnight, and "
        "{limb} holds three and a half praharas of {day}."
    ),
    Reason.DAWN: "Dashami is over 96 minutes before the sunrise of {day}, which has {limb}.",
    Reason.DAWN_NEXT: "Dashami is not over 96 minutes before the sunrise of {before}; the next day, {day}, is kept.",
    Reason.BEFORE_CUT: "{limb} comes before {window} of {day}.",
    Reason.AFTER_CUT: "{limb} comes after {window} of {before}; the next day, {day}, is kept.",
    Reason.CIVIL: "{limb} falls on the civil date {day}.",
}

_TWO: Final = {"first": "the first", "last": "the last", "more": "the one with the larger share (equal: the first)"}
_LACK: Final = {"start": "the day on which it begins", "next": "the day after it begins"}
_METHOD_TEXTS: Final = {
    "holds3": "the sunrise day on which it lasts at least three muhurtas, else the day on which it begins",
    "ram_navami": (
        "at madhyahna; on two days the second if either is wholly covered, else the larger share; on none, at sunrise"
    ),
    "nag_panchami": (
        "at sunrise; but if it lasts less than three muhurtas there and began within the first three of the day "
        "before, that day"
    ),
    "govardhan": "the second day if it lasts nine muhurtas after that sunrise, else the day on which it begins",
    "dussehra": (
        "in aparahna for at least a ghati; on two days the one with Shravana nakshatra in aparahna, else the larger "
        "share; on the first alone the second if it lasts three muhurtas there and only there Shravana is in aparahna"
    ),
    "holika": (
        "at pradosha, on two days the last; on one day the next if Bhadra covers part of pradosha and lasts past "
        "midnight and Purnima lasts three and a half praharas of the next day"
    ),
    "civil": "on that civil date",
    "vaishnava": ("at sunrise, Dashami being over 96 minutes before it, else the next day; at two sunrises the second"),
}
_WEEKDAYS: Final = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


def window_name(window: str) -> str:
    """Give the words for a window."""
    return WINDOW_NAMES.get(window, window)


def rule_text(rule: Rule) -> str:
    """Say a rule in words.

    >>> from apps.panchangam.almanac.observances import rules_of
    >>> rule_text(rules_of("karwa_chauth")[0])
    'Ashwina Krishna Chaturthi (amanta) at moonrise; on two days the first; on none the day after it begins'
    >>> rule_text(rules_of("holi")[0]).endswith("; then the day after")
    True
    """
    text = f"{_subject(rule)} {_choice_text(rule)}"
    if rule.weekday is not None:
        text += f"; then the last {_WEEKDAYS[rule.weekday]} on or before it"
    if rule.shift == 1:
        text += "; then the day after"
    elif rule.shift == -1:
        text += "; then the day before"
    elif rule.shift:
        text += f"; then {rule.shift} days later"
    return text


def _subject(rule: Rule) -> str:
    """Name the limb that a rule looks for."""
    if rule.star:
        return f"{names.NAKSHATRAS[rule.star - 1]} nakshatra, the Sun in {names.RASHIS[rule.sign]},"
    if not rule.tithi:
        return f"Sun enters {names.RASHIS[rule.sign]}:"
    tithi = f"{names.TITHIS[rule.tithi - 1]}"
    if rule.month is not None:
        return f"{names.MONTHS[rule.month]} {tithi} (amanta)"
    if rule.sign >= 0:
        return f"{tithi}, the Sun in {names.RASHIS[rule.sign]},"
    return f"Adhika month's {tithi}" if rule.leap == "adhika" else f"{tithi} of every month"


def _choice_text(rule: Rule) -> str:
    """Say how a rule picks the day."""
    if rule.method in _METHOD_TEXTS:
        return _METHOD_TEXTS[rule.method]
    if rule.method == "cut":
        return f"on that civil date if before {rule.window}, else on the next"
    return f"at {window_name(rule.window)}; on two days {_TWO[rule.two]}; on none {_LACK[rule.none]}"


def percent(share: float) -> int:
    """Round a share of 0 to 1 to whole per cents, keeping 0 and 100 for nothing and all.

    >>> [percent(share) for share in (0, 0.001, 0.5, 0.9999, 1)]
    [0, 1, 50, 99, 100]
    """
    if share in (0, 1):
        return int(100 * share)
    return min(99, max(1, round(100 * share)))


def sentence(reason: Reason, limb: str, window: str, days: tuple[date, date], shares: tuple[int, int]) -> str:
    """Say why a day was chosen; `days` are the chosen one and the earlier candidate, `shares` per cents.

    >>> sentence(Reason.MORE, "Amavasya", "pradosha", (date(2024, 10, 31), date(2024, 10, 31)), (100, 35))
    'Amavasya covers 100 % of pradosha on 2024-10-31 and 35 % on 2024-11-01; the larger share decides.'
    """
    day, low = days
    return _SENTENCES[reason].format(
        limb=limb,
        window=window_name(window),
        day=day,
        before=date.fromordinal(day.toordinal() - 1),
        low=low,
        high=date.fromordinal(low.toordinal() + 1),
        p=shares[0],
        q=shares[1],
    )
