"""What may be a name, a key, a zone, or data: the door through which all of them come in.

Always true: what passes here is kept by both stores exactly as it is, and fails here, in one sentence, if either
could not keep it: no NUL, no lone surrogate, no NaN, no number beyond 64 bits, nothing nested deeper than 64.

Not here: durations and instants (define/units), the types of a handler's arguments (define/arguments).
"""

import difflib
import json
import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from zoneinfo import ZoneInfo, available_timezones

import msgspec

from rota.define.units import shown
from rota.errors import BadInput, RotaError

MOST_KEY_BYTES = 512  # UTF-8; longer keys belong into the data
MOST_JSON_BYTES = 256 * 1024  # of arguments, data and results: larger things belong into a store of their own
MOST_REASON_BYTES = 16 * 1024  # of a reason or an error text
MOST_DEPTH = 64  # of nested lists and dicts
_SHOWN_PATH = 80  # characters of a path that a message repeats: enough to find the place
_LISTED = 8  # known names that a message lists: one line's worth
INT_LIMIT = 2**63  # 64-bit signed: what both databases can count with

_NO_ZONES = frozenset({"localtime", "posixrules", "Factory"})  # files beside the zones that mean the machine's own
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,63}", re.ASCII)
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_UNSTORABLE = re.compile(r"[\x00\ud800-\udfff]")
_encode_sorted = msgspec.json.Encoder(order="sorted").encode


def checked_name(value: object, *, what: str, error: type[RotaError] = BadInput) -> str:
    """The name of a job, roster or queue, if it is one; `what` says which."""
    if isinstance(value, str) and _NAME.fullmatch(value):
        return value
    raise error(
        f"the name of a {what} must begin with a letter and go on with up to 63 letters, digits, '_', '.' or '-', "
        f"but it is {shown(value)}"
    )


def checked_key(value: object, *, what: str, slash: bool = False, error: type[RotaError] = BadInput) -> str:
    """A member, owner or one-off key, byte for byte; only the last may contain a slash."""
    if not isinstance(value, str):
        raise error(f"the {what} must be text, not {shown(value)}: write str(…) around it")
    fault = _key_fault(value, slash=slash)
    if fault:
        raise error(f"the {what} {shown(value)} {fault}")
    return value


def checked_run_key(value: object) -> str:
    """The unique key of a one-off; the same rules, but a slash is welcome."""
    return checked_key(value, what="key of a one-off", slash=True)


def _key_fault(key: str, *, slash: bool) -> str | None:
    if not key:
        return "is empty: give it at least one character"
    if key != key.strip():
        return "has white space at an end: strip it"
    if key in {".", ".."}:
        return "means a folder to every browser: choose another"
    if "/" in key and not slash:
        return "contains '/': it would break addresses, use another separator"
    if _CONTROL.search(key):
        return "contains a control character: remove it"
    try:
        size = len(key.encode())
    except UnicodeEncodeError:
        return "contains half of a surrogate pair: decode it properly"
    return f"has {size} bytes: at most {MOST_KEY_BYTES} are kept" if size > MOST_KEY_BYTES else None


def nearest(word: str, known: Iterable[str]) -> str:
    """The end of a sentence about an unknown word: what was probably meant, else what there is."""
    names = sorted(known)
    close = nearest_word(word, names)
    if close is not None:
        return f": did you mean {close!r}?"
    listed = ", ".join(names[:_LISTED]) + (" …" if len(names) > _LISTED else "")
    return f": known are {listed}" if names else ""


def nearest_word(word: str, known: Iterable[str]) -> str | None:
    """The known word that looks most like this one, if any does."""
    by_fold = {name.casefold(): name for name in known}
    folded = word.casefold()
    close = [folded] if folded in by_fold else difflib.get_close_matches(folded, by_fold, n=1, cutoff=0.6)
    return by_fold[close[0]] if close else None


def checked_choice(value: object, choices: Iterable[str], *, what: str, error: type[RotaError] = BadInput) -> str:
    """The value, if it is one of the words to choose from."""
    words = tuple(choices)
    if isinstance(value, str) and value in words:
        return value
    listed = ", ".join(repr(word) for word in words[:-1]) + f" or {words[-1]!r}"
    close = nearest_word(value, words) if isinstance(value, str) else None
    hint = f": did you mean {close!r}?" if close else ""
    raise error(f"{what} must be {listed}, not {shown(value)}{hint}")


@lru_cache(maxsize=1_024)
def zone_of(name: str) -> ZoneInfo:
    """The rules of an IANA zone; `BadInput` with the nearest name where there is none."""
    if name not in _NO_ZONES and not name.startswith(("right/", "posix/")):
        try:
            return ZoneInfo(name)
        except (KeyError, ValueError, OSError):
            pass
    close = nearest_word(name, available_timezones()) or "Europe/Berlin"
    raise BadInput(f"the zone must be an IANA name, but {shown(name)} is none: did you mean {close!r}?")


def checked_zone(value: object, *, error: type[RotaError] = BadInput) -> str | None:
    """The name of a zone that exists, or None."""
    if value is None:
        return None
    if not isinstance(value, str):
        raise error(f'the zone must be an IANA name such as "Europe/Berlin", not {shown(value)}')
    try:
        zone_of(value)
    except BadInput as fault:
        raise error(str(fault)) from None
    return value


def json_text(value: object, *, what: str, most: int = MOST_JSON_BYTES) -> str:
    """The value as canonical JSON (keys sorted, no spaces); `BadInput` says where it is not plain JSON."""
    check_json(value, what=what)
    encoded = _encode_sorted(value)
    if len(encoded) > most:
        raise BadInput(f"{what} takes {len(encoded):,} bytes as JSON, at most {most:,} are kept: store a reference")
    return encoded.decode()


def data_text(data: object, *, what: str = "data") -> str:
    """A member's data as canonical JSON; it must be a dict."""
    if not isinstance(data, Mapping):
        raise BadInput(f"{what} must be a dict of JSON values, not {shown(data)}")
    return json_text(data if type(data) is dict else dict(data), what=what) if data else "{}"


def check_json(value: object, *, what: str, depth: int = 0) -> None:
    """Refuse what JSON or one of the stores would lose; `what` grows into the path of the offender."""
    kind = type(value)
    if kind is str or kind is int or kind is float:
        fault = scalar_fault(value)
        if fault:
            raise BadInput(f"{what} {fault}")
    elif kind is dict or kind is list or kind is tuple:
        if depth >= MOST_DEPTH:
            raise BadInput(f"{what[:_SHOWN_PATH]}… is nested deeper than {MOST_DEPTH} levels: flatten it")
        if isinstance(value, dict):
            _check_fields(value, what=what, depth=depth)
        elif isinstance(value, list | tuple):
            for index, item in enumerate(value):
                check_json(item, what=f"{what}[{index}]", depth=depth + 1)
    elif value is not None and kind is not bool:
        raise BadInput(f"{what} must be JSON (None, bool, int, float, str, list or dict), not {shown(value)}")


def _check_fields(fields: dict[object, object], *, what: str, depth: int) -> None:
    for key, item in fields.items():
        if type(key) is not str:
            raise BadInput(f"{what} must have text keys only, not {shown(key)}: write str(…) around it")
        fault = scalar_fault(key)
        if fault:
            raise BadInput(f"a key of {what} {fault}")
        check_json(item, what=f"{what}.{key}", depth=depth + 1)


def scalar_fault(value: object) -> str | None:
    """What keeps a text or a number from being stored, as the end of a sentence."""
    if isinstance(value, str):
        if _UNSTORABLE.search(value):
            return "contains a NUL character or half of a surrogate pair: remove it"
    elif isinstance(value, float):
        if value - value != 0:
            return f"is {value}, which JSON has no word for: use None"
    elif isinstance(value, int) and not -INT_LIMIT <= value < INT_LIMIT:
        return "is an int beyond 64 bits: send it as text"
    return None


def read_json(text: str, *, what: str) -> object:
    """The value of a JSON text from outside; the same rules as for values, and no key twice."""
    try:
        value: object = json.loads(text, object_pairs_hook=_fields_once)
    except RecursionError:
        raise BadInput(f"{what} is nested deeper than {MOST_DEPTH} levels: flatten it") from None
    except ValueError as fault:
        raise BadInput(f"{what} must be JSON, but {shown(text)} is not: {fault}") from None
    check_json(value, what=what)
    return value


def _fields_once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        raise ValueError("a key stands twice in one object")
    return fields


def clean_text(text: str, *, most: int = MOST_REASON_BYTES) -> str:
    """A reason or error text that any store keeps: unstorable characters replaced, cut to `most` bytes."""
    if _UNSTORABLE.search(text):
        text = _UNSTORABLE.sub("\N{REPLACEMENT CHARACTER}", text)
    if len(text) * 4 <= most:  # no character takes more than four bytes
        return text
    encoded = text.encode()
    if len(encoded) <= most:
        return text
    mark = "…"
    return encoded[: most - len(mark.encode())].decode(errors="ignore") + mark
