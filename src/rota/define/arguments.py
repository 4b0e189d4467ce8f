"""The parameters of a handler: which ones rota gives, which ones are arguments, and how arguments are stored.

Always true: arguments are one JSON object by name; what was bound decodes to equal values of the annotated types, and
what would not is refused at the call. What can be worked out once is worked out when the job is declared.

Not here: which values can be stored at all (define/stored), encryption of secret arguments.
"""

import inspect
import typing
from collections.abc import Callable, Mapping, Sequence
from types import CellType, FunctionType
from typing import Any

import msgspec

from rota.define.names import MOST_JSON_BYTES, nearest, scalar_fault
from rota.define.roster import Member
from rota.define.run import Run
from rota.define.stored import PLAIN, check_value, comes_back, encode, encode_result
from rota.define.units import shown
from rota.errors import BadInput, ConfigError

__all__ = ["Signature", "encode_result", "handler_signature"]

CallArgs = Callable[[object, object, str | None], dict[str, Any]]
MOST_PARAMETERS = 100  # of one handler: a list of rules has at most as many


class Signature:
    """What a handler takes, worked out once.

    `call_args(member, run, text)` gives the keywords of one call; for a batch handler `member` is the list of members.
    """

    __slots__ = (
        "_decoder",
        "_job",
        "_plain",
        "_refused",
        "call_args",
        "member_names",
        "members_names",
        "parameters",
        "required",
        "run_names",
    )

    def __init__(
        self, job: str, given: Mapping[str, list[str]], arguments: Mapping[str, object], required: frozenset[str]
    ) -> None:
        self._job = job
        self.member_names = tuple(given["member"])
        self.members_names = tuple(given["members"])
        self.run_names = tuple(given["run"])
        self.parameters = tuple(arguments)
        self.required = required
        self._plain = {name: kind if kind in PLAIN else None for name, kind in arguments.items() if _hashable(kind)}
        self._refused = {name: fault for name, kind in arguments.items() if (fault := _type_fault(kind))}
        self._decoder = _decoder(arguments, self._refused)
        self.call_args: CallArgs = self._caller()

    @property
    def takes_member(self) -> bool:
        """Whether a parameter is a Member."""
        return bool(self.member_names)

    @property
    def takes_members(self) -> bool:
        """Whether a parameter is a list of members, so that the handler takes a whole batch."""
        return bool(self.members_names)

    def bind(self, args: Sequence[object] = (), kwargs: Mapping[str, object] | None = None) -> str:
        """The arguments of one call as a JSON object by name; `BadInput` says what cannot be taken."""
        given = self._named(args, kwargs)
        if not given:
            return "{}"
        plain = self._plain
        for name, value in given.items():
            if plain.get(name, self) is not type(value) or scalar_fault(value):
                return self._bound_slowly(given)
        return self._bounded(encode(given))

    def unpack(self, text: str | None) -> dict[str, Any]:
        """The stored arguments, converted to the annotated types; `BadInput` where they do not fit the handler."""
        if not self.required and (text is None or text == "{}"):
            return {}
        try:
            found = self._decoder.decode(text or "{}")
        except (msgspec.DecodeError, TypeError, ValueError) as fault:
            raise BadInput(f"the stored arguments do not fit the handler of {self._job}: {_said(fault)}") from None
        given: dict[str, Any] = {}
        for name in self.parameters:
            value = getattr(found, name)
            if value is not msgspec.UNSET:
                given[name] = value
        if len(given) < len(self.parameters):
            self._check_complete(given)
        return given

    def _named(self, args: Sequence[object], kwargs: Mapping[str, object] | None) -> dict[str, object]:
        if len(args) > len(self.parameters):
            takes = f"takes {len(self.parameters)} arguments" if self.parameters else "takes no arguments"
            raise BadInput(f"{self._job} {takes}, but {len(args)} were given by position")
        given = dict(zip(self.parameters, args, strict=False))
        for name, value in (kwargs or {}).items():
            if name in given:
                raise BadInput(f"{self._job} got the argument {name!r} twice, by position and by name: give it once")
            if name not in self.parameters:
                raise BadInput(f"{self._job} has no argument {name!r}{nearest(name, self.parameters)}")
            given[name] = value
        self._check_complete(given)
        return given

    def _check_complete(self, given: Mapping[str, object]) -> None:
        if not self.required <= given.keys():
            missing = ", ".join(repr(name) for name in self.parameters if name in self.required - given.keys())
            raise BadInput(f"{self._job} needs the argument {missing}, which is not given: add it")

    def _bound_slowly(self, given: dict[str, object]) -> str:
        for name, value in given.items():
            what = f"the argument {name!r} of {self._job}"
            if name in self._refused:
                raise BadInput(f"{what} cannot be stored: {self._refused[name]}")
            check_value(value, what=what)
        try:
            encoded = encode(given)
            found = self._decoder.decode(encoded)
        except (msgspec.DecodeError, TypeError, ValueError, RecursionError) as fault:
            raise BadInput(f"the arguments of {self._job} cannot be taken: {_said(fault)}") from None
        for name, value in given.items():
            back = getattr(found, name)
            what = f"the argument {name!r} of {self._job}"
            check_value(back, what=what) if type(back) is not type(value) else None
            if not comes_back(value, back):
                raise BadInput(
                    f"{what} is {shown(value)} but would come back as {shown(back)}: "
                    "annotate the parameter with the type that you give"
                )
        return self._bounded(encoded)

    def _bounded(self, encoded: bytes) -> str:
        if len(encoded) > MOST_JSON_BYTES:
            size = f"{len(encoded):,} bytes as JSON, at most {MOST_JSON_BYTES:,} are kept"
            raise BadInput(f"the arguments of {self._job} take {size}: store them yourself and give a reference")
        return encoded.decode()

    def _caller(self) -> CallArgs:
        """The shortest way to the keywords of one call, since every run goes through it."""
        members, runs, unpack = self.member_names + self.members_names, self.run_names, self.unpack
        if self.parameters and not members and not runs:
            return lambda _member, _run, text: unpack(text)
        if self.parameters:
            return lambda member, run, text: unpack(text) | dict.fromkeys(members, member) | dict.fromkeys(runs, run)
        if len(members) == 1 and not runs:
            only = members[0]
            return lambda member, _run, _text: {only: member}
        if len(members) == len(runs) == 1:
            who, what = members[0], runs[0]
            return lambda member, run, _text: {who: member, what: run}
        if not members and not runs:
            return lambda _member, _run, _text: {}
        return lambda member, run, _text: dict.fromkeys(members, member) | dict.fromkeys(runs, run)


def handler_signature(function: Callable[..., object], *, job: str) -> Signature:
    """Work out what a handler takes; what rota cannot call is a `ConfigError`."""
    given: dict[str, list[str]] = {"member": [], "members": [], "run": []}
    arguments: dict[str, object] = {}
    required: set[str] = set()
    parameters = inspect.signature(function).parameters
    if len(parameters) > MOST_PARAMETERS:
        raise ConfigError(f"the handler of {job} has {len(parameters)} parameters: at most {MOST_PARAMETERS} are taken")
    for parameter in parameters.values():
        _check_parameter(parameter, job)
        kind = _annotation(parameter, function, job)
        role = _role(kind, parameter, job)
        if role is not None:
            given[role].append(parameter.name)
            continue
        arguments[parameter.name] = kind
        if parameter.default is inspect.Parameter.empty:
            required.add(parameter.name)
    return Signature(job, given, arguments, frozenset(required))


def _check_parameter(parameter: inspect.Parameter, job: str) -> None:
    kind, name = parameter.kind, parameter.name
    if kind in {inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD}:
        raise ConfigError(f"the handler of {job} takes {parameter}: name each argument, for they are stored by name")
    if kind is inspect.Parameter.POSITIONAL_ONLY:
        raise ConfigError(f"the handler of {job} takes {name!r} by position only: remove the '/', it is called by name")
    if name == "on":
        raise ConfigError(f"the handler of {job} has a parameter 'on', which enqueue(on=…) takes: rename it")


def _annotation(parameter: inspect.Parameter, function: Callable[..., object], job: str) -> object:
    """The type of a parameter; names in quotes are looked up in the handler's module, its closure, and here."""
    if parameter.annotation is inspect.Parameter.empty:
        return Any
    plain = inspect.unwrap(getattr(function, "func", function))
    plain = getattr(plain, "__func__", plain)
    names: dict[str, object] = {"Member": Member, "Run": Run, **getattr(plain, "__globals__", {})}
    try:
        if isinstance(plain, FunctionType) and plain.__closure__:
            cells = zip(plain.__code__.co_freevars, plain.__closure__, strict=True)
            names |= {name: cell.cell_contents for name, cell in cells if _filled(cell)}
        return typing.get_type_hints(_Holder(parameter.annotation), globalns=names, include_extras=True)["it"]
    except Exception as fault:  # noqa: BLE001 - an annotation in quotes is code and can raise anything
        raise ConfigError(
            f"the annotation {parameter.annotation!r} of {parameter.name!r} in the handler of {job} cannot be read "
            f"({fault}): import its names at the top of the module, not under TYPE_CHECKING"
        ) from None


def _filled(cell: CellType) -> bool:
    """Whether a name of the enclosing function has a value yet: the job itself, used in its own handler, has none."""
    try:
        return cell.cell_contents is not cell
    except ValueError:
        return False


class _Holder:
    """One annotation, in the shape in which the standard library reads annotations."""

    def __init__(self, annotation: object) -> None:
        self.__annotations__ = {"it": annotation}


def _role(kind: object, parameter: inspect.Parameter, job: str) -> str | None:
    if kind is Member:
        return "member"
    if kind is Run:
        return "run"
    if typing.get_origin(kind) is list and typing.get_args(kind) == (Member,):
        return "members"
    if _mentions_given(kind):
        raise ConfigError(
            f"the parameter {parameter.name!r} of the handler of {job} must be annotated Member, Run or list[Member] "
            f"to be given by rota, not {parameter.annotation}"
        )
    return None


def _mentions_given(kind: object) -> bool:
    return kind is Member or kind is Run or any(_mentions_given(part) for part in typing.get_args(kind))


def _type_fault(kind: object) -> str | None:
    """Why no value of this annotation can be read back, if so; said at the call."""
    try:
        msgspec.json.Decoder(kind)
    except Exception as fault:  # noqa: BLE001 - annotations are evaluated here and can raise anything
        return f"its annotation cannot be read back ({_said(fault)})"
    return None


def _decoder(arguments: Mapping[str, object], refused: Mapping[str, str]) -> msgspec.json.Decoder[Any]:
    fields = [
        (name, typing.Union[kind, msgspec.UnsetType], msgspec.UNSET)  # noqa: UP007 - the kind is known at run time only
        for name, kind in arguments.items()
        if name not in refused
    ]
    return msgspec.json.Decoder(msgspec.defstruct("Arguments", fields, kw_only=True, forbid_unknown_fields=True))


def _hashable(kind: object) -> bool:
    return getattr(type(kind), "__hash__", None) is not None


def _said(fault: Exception) -> str:
    """The library's own words, with its path to the argument made readable."""
    return str(fault).replace(" - at `$.", " at `").replace("`", "'")
