"""Arguments: what is bound comes back equal, what would not is refused at the call."""

import enum
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any, NamedTuple, TypedDict
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest

from rota.define.arguments import handler_signature
from rota.define.roster import Member
from rota.define.run import Run
from rota.define.stored import encode_result
from rota.errors import BadInput, ConfigError


class Colour(enum.Enum):
    RED = "red"


class Size(enum.IntEnum):
    SMALL = 1


@dataclass
class Point:
    x: int
    at: datetime | None = None


@dataclass(eq=False)
class Odd:
    name: str


class Row(NamedTuple):
    id: UUID
    price: Decimal


class Options(TypedDict, total=False):
    deep: bool
    points: list[Point]


NOW = datetime(2026, 1, 1, 12, 30, 15, 123456, tzinfo=UTC)


def signature_of(function):
    return handler_signature(function, job="the job 'welcome'")


def annotated(kind):
    def handler(it): ...

    handler.__annotations__ = {"it": kind}
    return signature_of(handler)


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (None, None),
        (bool, True),
        (int, -(2**63)),
        (int, 2**63 - 1),
        (float, 0.1),
        (str, "grüße \U0001f600"),
        (list[int], [1, 2]),
        (list, [1, "a", None, [True]]),
        (dict[str, float], {"a": 1.5}),
        (dict, {"a": {"b": []}}),
        (datetime, NOW),
        (datetime, NOW.astimezone(ZoneInfo("Asia/Kolkata"))),
        (datetime | None, None),
        (date, date(2026, 1, 1)),
        (time, time(2, 30, 0, 5)),
        (timedelta, timedelta(days=-1, microseconds=1)),
        (Decimal, Decimal("1.10")),
        (UUID, UUID(int=7)),
        (Colour, Colour.RED),
        (Size, Size.SMALL),
        (Point, Point(1, NOW)),
        (list[Point], [Point(1), Point(2)]),
        (Row, Row(UUID(int=1), Decimal("2.5"))),
        (Options, {"deep": True, "points": [Point(3)]}),
        (Any, {"a": [1, 2.5, "x", None, False]}),
    ],
)
def test_what_is_bound_comes_back_equal_and_of_the_same_type(kind, value):
    found = annotated(kind).unpack(annotated(kind).bind((value,)))["it"]
    assert found == value
    assert type(found) is type(value)


def test_an_hour_that_comes_twice_keeps_its_instant():
    second = datetime(2026, 10, 25, 2, 30, fold=1, tzinfo=ZoneInfo("Europe/Berlin"))
    found = annotated(datetime).unpack(annotated(datetime).bind((second,)))["it"]
    assert found.timestamp() == second.timestamp()  # by `==` Python calls such times of two zones different


def test_a_record_without_equality_comes_back_field_by_field():
    found = annotated(Odd).unpack(annotated(Odd).bind((Odd("a"),)))["it"]
    assert isinstance(found, Odd)
    assert found.name == "a"


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (str, 5),
        (int, "5"),
        (int, 2**63),
        (int, 1.5),
        (float, float("nan")),
        (float, float("inf")),
        (float, 2**53 + 1),
        (str, "a\x00b"),
        (str, "\ud800"),
        (Any, {1: "a"}),
        (Any, {"a": {"\x00": 1}}),
        (Any, (1, 2)),
        (Any, {1, 2}),
        (Any, b"bytes"),
        (Any, object()),
        (Any, NOW),
        (Any, Decimal(1)),
        (Any, Point(1)),
        (str, NOW),
        (str, UUID(int=1)),
        (datetime, NOW.replace(tzinfo=None)),
        (datetime, "2026-01-01T00:00:00"),
        (datetime, datetime(1890, 1, 1, tzinfo=timezone(timedelta(seconds=3208)))),
        (set[int], {1}),
        (bytes, b"x"),
        (Decimal, Decimal("NaN")),
        (Decimal, Decimal("sNaN")),
        (Point, {"x": 1, "y": 2}),
        (Options, {"wide": 1}),
        (str | datetime, "x"),
        (Colour, "blue"),
        (Point, None),
    ],
)
def test_what_would_not_come_back_is_refused_at_the_call(kind, value):
    with pytest.raises(BadInput, match="welcome"):
        annotated(kind).bind((value,))


def test_nesting_beyond_sixty_four_levels_is_refused():
    deep: list[Any] = []
    for _ in range(70):
        deep = [deep]
    with pytest.raises(BadInput, match="nested deeper"):
        annotated(Any).bind((deep,))


def test_arguments_beyond_256_kib_are_refused():
    with pytest.raises(BadInput, match="reference"):
        annotated(str).bind(("x" * 262_144,))


def test_plain_json_is_converted_to_the_annotated_type():
    assert annotated(datetime).unpack(annotated(datetime).bind(("2026-01-01T12:30:15.123456Z",)))["it"] == NOW
    assert annotated(float).unpack(annotated(float).bind((3,)))["it"] == 3.0
    assert annotated(Point).unpack(annotated(Point).bind(({"x": 1},)))["it"] == Point(1)


def test_arguments_go_by_position_by_name_and_by_default():
    def handler(email: str, count: int = 3, *, lang: str = "en"): ...

    signature = signature_of(handler)
    assert signature.bind(("a@b",)) == '{"email":"a@b"}'
    assert signature.unpack(signature.bind(("a@b", 4), {"lang": "de"})) == {"email": "a@b", "count": 4, "lang": "de"}


@pytest.mark.parametrize(
    ("args", "kwargs", "sentence"),
    [
        ((), {}, "needs the argument 'email'"),
        (("a",), {"emial": "b"}, "did you mean 'email'"),
        (("a",), {"email": "b"}, "twice"),
        (("a", "b"), {}, "takes 1 arguments, but 2"),
    ],
)
def test_a_call_that_does_not_fit_says_how(args, kwargs, sentence):
    def handler(email: str): ...

    with pytest.raises(BadInput, match=sentence):
        signature_of(handler).bind(args, kwargs)


def test_stored_arguments_that_no_longer_fit_are_refused():
    def handler(email: str): ...

    for text in ("{}", None, '{"email":1}', '{"email":"a","lang":"de"}', "nonsense"):
        with pytest.raises(BadInput, match="welcome"):
            signature_of(handler).unpack(text)


def test_member_and_run_are_given_and_not_stored():
    def handler(seller: Member, run: Run, deep: bool = False): ...

    signature = signature_of(handler)
    assert signature.parameters == ("deep",)
    assert signature.call_args("m", "r", '{"deep":true}') == {"seller": "m", "run": "r", "deep": True}
    assert signature.call_args("m", "r", None) == {"seller": "m", "run": "r"}


def test_every_shape_of_handler_gets_what_it_asks_for():
    def nothing(): ...
    def one(seller: Member): ...
    def both(run: Run, seller: Member): ...
    def only_run(run: Run): ...
    def many(sellers: list[Member]): ...

    asked = [nothing, one, both, only_run, many]
    found = [signature_of(each).call_args("m", "r", "{}") for each in asked]
    assert found == [{}, {"seller": "m"}, {"seller": "m", "run": "r"}, {"run": "r"}, {"sellers": "m"}]
    assert signature_of(many).takes_members


def test_annotations_in_quotes_are_read_from_the_module_and_from_the_closure():
    @dataclass
    class Local:
        x: int

    def handler(seller: "Member", run: "Run", point: "Point", local: "list[Local]"):
        return Local

    signature = signature_of(handler)
    assert (signature.member_names, signature.run_names) == (("seller",), ("run",))
    text = signature.bind((), {"point": Point(1), "local": [Local(2)]})
    assert signature.unpack(text) == {"point": Point(1), "local": [Local(2)]}


def test_handlers_that_cannot_be_called_by_name_are_refused():
    def star(*args): ...
    def stars(**kwargs): ...
    def positional(a, /): ...
    def on(on: str): ...
    def unknown(a: "Nowhere"): ...  # noqa: F821
    def maybe(seller: Member | None): ...

    for handler in (star, stars, positional, on, unknown, maybe):
        with pytest.raises(ConfigError, match="welcome"):
            signature_of(handler)


def test_a_default_of_a_type_that_is_never_stored_is_left_to_the_handler():
    class Session: ...

    def handler(email: str, session: Session | None = None): ...

    signature = signature_of(handler)
    assert signature.unpack(signature.bind(("a",))) == {"email": "a"}
    with pytest.raises(BadInput, match="session"):
        signature.bind(("a", Session()))


def test_results_are_cleaned_rather_than_refused():
    assert encode_result(None) == "null"
    assert encode_result({"p": Point(1), "n": float("nan")}) == '{"p":{"x":1,"at":null},"n":null}'
    assert encode_result("a\x00\ud800") == '"a\N{REPLACEMENT CHARACTER}\N{REPLACEMENT CHARACTER}"'
    assert "bits" in encode_result(10**30)
    for wrong in (object(), "x" * 300_000):
        with pytest.raises(BadInput, match="result"):
            encode_result(wrong)
