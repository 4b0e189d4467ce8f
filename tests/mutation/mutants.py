"""Mutants of one module: its syntax tree with one small thing in it changed.

Always true: each mutant differs from the module in one place; the tree is as it was after each of them.

Not here: whether the tests notice (`python -m tests.mutation`), which modules (targets).
"""

import ast
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from types import CodeType

Alternative = tuple[str, ast.AST]

_COMPARED: dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]] = {
    ast.Lt: (ast.LtE, ast.GtE),
    ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.LtE),
    ast.GtE: (ast.Gt, ast.Lt),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
    ast.In: (ast.NotIn,),  # codespell:ignore notin
    ast.NotIn: (ast.In,),  # codespell:ignore notin
}
_COMPUTED: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.FloorDiv,
    ast.FloorDiv: ast.Mult,
    ast.Div: ast.Mult,
    ast.Mod: ast.FloorDiv,
    ast.Pow: ast.Mult,
    ast.LShift: ast.RShift,
    ast.RShift: ast.LShift,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
    ast.BitXor: ast.BitAnd,
}
_CALLED = {"min": "max", "max": "min", "any": "all", "all": "any"}
_SAID = {
    "name",
    "what",
    "repr",
    "error",
    "guard",
    "by",
    "also",
    "strict",
    "kw_only",
    "compare",
}  # for people, or for what cannot be
_TYPES = {
    "__all__",
    "Duration",
    "Segment",
    "Row",
    "Placement",
    "Route",
    "Target",
}  # what is assigned to these is no behaviour


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutant:
    """One change: where, what, and the module compiled with it."""

    line: int
    what: str
    code: CodeType

    @property
    def name(self) -> str:
        """What it is known by, from one time to the next."""
        return f"{self.line}: {self.what}"


def mutants_of(text: str, path: str, *, strings: bool = False) -> Iterator[Mutant]:
    """Every mutant of a module; `strings` says that its texts are data and not messages."""
    tree = ast.parse(text)
    skipped = _skipped(tree, strings=strings)
    seen: Counter[tuple[int, str]] = Counter()
    for parent in list(ast.walk(tree)):
        for field, value in list(ast.iter_fields(parent)):
            nodes = value if isinstance(value, list) else [value]
            for at, node in enumerate(nodes):
                if not isinstance(node, ast.AST) or id(node) in skipped:
                    continue
                for what, other in _alternatives(node):
                    ast.copy_location(other, node)
                    _put(parent, field, at if isinstance(value, list) else None, other)
                    line = getattr(node, "lineno", 0)
                    code = compile(ast.fix_missing_locations(tree), path, "exec")
                    _put(parent, field, at if isinstance(value, list) else None, node)
                    seen[line, what] += 1
                    again = f" ({seen[line, what]})" if seen[line, what] > 1 else ""  # it reads like one before
                    yield Mutant(line=line, what=what + again, code=code)


def _put(parent: ast.AST, field: str, at: int | None, node: ast.AST) -> None:
    if at is None:
        setattr(parent, field, node)
    else:
        getattr(parent, field)[at] = node


def _alternatives(node: ast.AST) -> Iterator[Alternative]:
    """What could stand in place of a node."""
    if isinstance(node, ast.expr):
        for other in _other_expressions(node):
            yield f"{ast.unparse(node)} → {ast.unparse(other)}", other
    elif isinstance(node, ast.stmt):
        for statement in _other_statements(node):
            yield f"{ast.unparse(node).splitlines()[0]} → {ast.unparse(statement).splitlines()[0]}", statement


def _other_expressions(node: ast.expr) -> Iterator[ast.expr]:
    if isinstance(node, ast.Constant):
        yield from _other_constants(node.value)
    elif isinstance(node, ast.Slice):
        yield from _other_slices(node)
    else:
        yield from _other_operations(node)


def _other_operations(node: ast.expr) -> Iterator[ast.expr]:
    match node:
        case ast.Compare(left=left, ops=ops, comparators=right):
            for at, op in enumerate(ops):
                for other in _COMPARED.get(type(op), ()):
                    yield ast.Compare(left, [*ops[:at], other(), *ops[at + 1 :]], right)
        case ast.BinOp(left=left, op=operator, right=right) if type(operator) in _COMPUTED:
            yield ast.BinOp(left, _COMPUTED[type(operator)](), right)
        case ast.BoolOp(op=word, values=values):
            yield ast.BoolOp(ast.Or() if isinstance(word, ast.And) else ast.And(), values)
            for at in range(len(values)):
                rest = values[:at] + values[at + 1 :]
                yield rest[0] if len(rest) == 1 else ast.BoolOp(word, rest)
        case ast.UnaryOp(op=ast.Not() | ast.USub(), operand=operand):
            yield operand
        case ast.IfExp(test=test, body=body, orelse=orelse):
            yield ast.IfExp(test, orelse, body)
        case ast.Call(func=ast.Name(id=name), args=arguments, keywords=keywords) if name in _CALLED:
            yield ast.Call(ast.Name(_CALLED[name], ast.Load()), arguments, keywords)


def _other_constants(value: object) -> Iterator[ast.expr]:
    match value:
        case bool():
            yield ast.Constant(not value)
        case int():
            yield ast.Constant(value + 1)
        case float():
            yield ast.Constant(value + 0.5)
        case str():
            yield ast.Constant(f"{value}·")


def _other_slices(node: ast.Slice) -> Iterator[ast.Slice]:
    if node.lower is not None:
        yield ast.Slice(None, node.upper, node.step)
    if node.upper is not None:
        yield ast.Slice(node.lower, None, node.step)
    if node.step is not None:
        yield ast.Slice(node.lower, node.upper, None)


def _other_statements(node: ast.stmt) -> Iterator[ast.stmt]:
    match node:
        case ast.Return(value=value) if value is not None and not _is_none(value):
            yield ast.Return(ast.Constant(None))
        case ast.Break():
            yield ast.Continue()
        case ast.Continue():
            yield ast.Break()
        case ast.If(test=test, body=body, orelse=orelse) if not isinstance(test, ast.Compare | ast.BoolOp):
            yield ast.If(ast.UnaryOp(ast.Not(), test), body, orelse)
        case ast.AugAssign(target=target, op=operator, value=value):
            if type(operator) in _COMPUTED:
                yield ast.AugAssign(target, _COMPUTED[type(operator)](), value)
            yield ast.Pass()
        case ast.Expr(value=ast.Call()) | ast.Raise():
            yield ast.Pass()
        case ast.Assign(targets=[ast.Attribute()]):
            yield ast.Pass()


def _is_none(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is None


def _skipped(tree: ast.AST, *, strings: bool) -> set[int]:
    """Nodes that say nothing the tests could ask for: types, decorators, messages, documentation, `__all__`."""
    found: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Raise):
            found.update(id(inner) for inner in ast.walk(node) if inner is not node)
        for root in _mute(node, strings=strings):
            found.update(id(inner) for inner in ast.walk(root))
    return found


def _mute(node: ast.AST, *, strings: bool) -> list[ast.AST]:
    """The parts of a node, or the node itself, that are not looked at."""
    match node:
        case ast.FunctionDef(decorator_list=decorators, returns=returns):
            return [*decorators, *([returns] if returns is not None else [])]
        case ast.ClassDef(decorator_list=decorators, bases=bases):
            return [*decorators, *bases]
        case ast.arg(annotation=ast.expr() as annotation) | ast.AnnAssign(annotation=annotation):
            return [annotation]
        case ast.Assign(targets=[ast.Name(id=name)]) if name in _TYPES:
            return [node]
        case ast.keyword(arg=name) if name in _SAID:
            return [node]
        case ast.JoinedStr() | ast.Expr(value=ast.Constant()):
            return [node]
        case ast.Constant(value=str()) if not strings:
            return [node]
    return []
