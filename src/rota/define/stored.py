"""What may be an argument or a result, and that it comes back from the store as it went in.

Always true: a value that passes `check_value` is of a type that rota stores, within the bounds of both stores;
`comes_back` tells whether what was read is what was given, or a conversion that lost nothing.

Not here: the parameters of a handler (define/arguments).
"""

import dataclasses
import math
from collections.abc import Iterable
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any
from uuid import UUID

import msgspec

from rota.define.names import INT_LIMIT, MOST_DEPTH, MOST_JSON_BYTES, clean_text, scalar_fault
from rota.define.units import shown
from rota.errors import BadInput

PLAIN = frozenset({str, int, bool, float, type(None)})  # JSON's own scalars
_KEPT_WHOLE = (date, time, timedelta, UUID)

encode = msgspec.json.Encoder().encode


def check_value(value: object, *, what: str, depth: int = 0) -> None:
    """Raise `BadInput`, with the path in `what`, where a value is of no type that is stored."""
    if depth > MOST_DEPTH:
        raise BadInput(f"{what[:80]}… is nested deeper than {MOST_DEPTH} levels: flatten it")
    fault = _fault(value)
    if fault is not None:
        raise BadInput(f"{what} {fault}")
    for name, part in _parts(value):
        check_value(part, what=f"{what}{name}", depth=depth + 1)


def _fault(value: object) -> str | None:
    """What keeps the value itself, without its parts, from being stored."""
    if type(value) in PLAIN:
        return scalar_fault(value)
    if isinstance(value, datetime):
        return None if value.utcoffset() is not None else f"is {shown(value)}, a datetime without a zone: add tzinfo="
    if isinstance(value, Decimal):
        return None if value.is_finite() else f"is {value}, which is no number: use None"
    if type(value) is dict:
        return _key_fault(value)
    if isinstance(value, _KEPT_WHOLE) or type(value) is list or _is_record(value):
        return None
    if isinstance(value, Enum):
        return scalar_fault(value.value)
    return (
        f"is {shown(value)}, but only None, bool, int, float, str, list, dict, dates and times, Decimal, UUID, Enum, "
        "dataclass, TypedDict and NamedTuple can be stored"
    )


def _key_fault(value: dict[object, object]) -> str | None:
    for key in value:
        if type(key) is not str:
            return f"has the key {shown(key)}, but only text keys can be stored: write str(…) around it"
        if scalar_fault(key):
            return f"has a key that {scalar_fault(key)}"
    return None


def _is_record(value: object) -> bool:
    named_tuple = isinstance(value, tuple) and hasattr(value, "_fields")
    return named_tuple or (dataclasses.is_dataclass(value) and not isinstance(value, type))


def _parts(value: object) -> Iterable[tuple[str, object]]:
    """What a value is made of, each part with its piece of the path."""
    if isinstance(value, dict):
        return [(f".{name}", part) for name, part in value.items()]
    if isinstance(value, list | tuple):
        return [(f"[{index}]", part) for index, part in enumerate(value)]
    if dataclasses.is_dataclass(value):
        return [(f".{each.name}", getattr(value, each.name, None)) for each in dataclasses.fields(value)]
    return ()


def comes_back(given: object, found: object) -> bool:
    """Whether what was read from the store is what was given, or the same thing in a type that says more."""
    if type(found) is not type(given):
        return _is_converted(given, found)
    if isinstance(given, datetime) and isinstance(found, datetime):
        return given.astimezone(UTC) == found.astimezone(UTC)
    if isinstance(given, dict | list | tuple) or dataclasses.is_dataclass(given):
        mine, theirs = list(_parts(given)), dict(_parts(found))
        return len(mine) == len(theirs) and all(
            name in theirs and comes_back(part, theirs[name]) for name, part in mine
        )
    return bool(given == found)


def _is_converted(given: object, found: object) -> bool:
    """Whether a plain value became, by the annotation, a number of another kind, a date or a record."""
    if isinstance(given, int | float):
        return isinstance(found, Enum) or bool(given == found)
    if type(given) is str:
        return True  # read by the annotation: had it not fitted, it would have been refused
    if type(given) is list:
        theirs = [part for _, part in _parts(found)]
        return len(theirs) == len(given) and all(map(comes_back, given, theirs))
    if type(given) is dict:
        known = dict(_parts(found))
        return all(f".{name}" in known and comes_back(part, known[f".{name}"]) for name, part in given.items())
    return False


def encode_result(value: object) -> str:
    """A handler's result as JSON; texts and numbers that no store keeps are cleaned, not refused.

    `BadInput` where the result is of a type that cannot be stored, too large, or too deep.
    """
    if value is None:
        return "null"
    try:
        plain = msgspec.to_builtins(value, str_keys=True)
        encoded = encode(_cleaned(plain, 0))
    except (TypeError, ValueError, RecursionError) as fault:
        raise BadInput(f"the result cannot be stored as JSON: {clean_text(str(fault), most=500)}") from None
    if len(encoded) > MOST_JSON_BYTES:
        size = f"{len(encoded):,} bytes as JSON, at most {MOST_JSON_BYTES:,} are kept"
        raise BadInput(f"the result takes {size}: store it yourself and return a reference")
    return encoded.decode()


def _cleaned(value: Any, depth: int) -> object:  # noqa: ANN401 - JSON of any shape
    if depth > MOST_DEPTH:
        raise ValueError(f"it is nested deeper than {MOST_DEPTH} levels")
    if isinstance(value, str):
        return clean_text(value, most=MOST_JSON_BYTES * 2)
    if isinstance(value, dict):
        return {clean_text(name, most=MOST_JSON_BYTES): _cleaned(part, depth + 1) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_cleaned(part, depth + 1) for part in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, int) and not -INT_LIMIT <= value < INT_LIMIT:
        return f"an int of {value.bit_length()} bits"
    return value


_object = msgspec.json.Decoder(dict[str, Any]).decode


def read_object(text: str | None) -> dict[str, Any]:
    """Stored arguments or data as a dictionary; most are empty, which costs no decoding."""
    return {} if text is None or text == "{}" else _object(text)
