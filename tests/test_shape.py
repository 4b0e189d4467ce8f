"""The house rules that a tool can check: sizes, names, who may import what, and documents in step with the code.

Always true: reads files only; a failure names the file, the line and the rule.

Not here: the floors (import-linter, `make check`) and style (Ruff).
"""

import ast
import graphlib
import importlib
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import grimp
import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "src" / "rota"
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))

MOST_LINES_OF_A_FILE = 500  # past this there is a second thing inside that wants its own room
MOST_LINES_OF_A_FUNCTION = 60  # past this nobody holds it in his head
NAMES_WITHOUT_MEANING = {"utils", "util", "core", "common", "helpers", "contrib", "misc"}
NOT_OURS = {".git", ".venv", ".cache", ".hypothesis", ".rota", "build", "dist", "__pycache__", "node_modules"}
TEXT = {".py", ".md", ".sql", ".toml", ".yaml", ".yml", ".lock", ".html", ".css", ".js", ".txt", ""}
FOLDERS_WHERE_TIME_IS_MOVED = ("unit", "property", "store", "sim")

# Brackets in these patterns keep this file from finding itself.
UNFINISHED = re.compile(r"\b(T[O]DO|FIX[M]E|X[X]X)\b|NotImplemented[E]rror|pragma: no[ ]cover|mark[.](skip\b|x[f]ail)")
FOREIGN = re.compile(r"/wor[k]/|/roo[t]/|/tm[p]/|/hom[e]/|/User[s]/|/far[m]/|pypi[.]or[g]|pythonhoste[d]|suba[g]ent")

PUBLIC_NAMES = {
    *{"Rota", "Roster", "Member", "Job", "Run", "Handle", "Event", "TickSummary", "every", "cron", "daily", "weekly"},
    *{"Retry", "Cap", "Limit", "Batch", "CatchUp"},
    *{"Outcome", "Retryable", "RateLimited", "Snooze", "Skip", "Hold", "Fail", "PauseJob"},
}
PUBLIC_MODULES = {"errors", "testing", "web", "http"}
ERRORS = {
    *{"RotaError", "ConfigError", "DuplicateJob", "BadSetting", "BadInput", "StoreError", "StoreUnavailable"},
    *{"SchemaMismatch", "NotFound", "Conflict", "LeaseLost", "IllegalTransition"},
}

# What only one file of the package may touch. An entry is a module, or a name inside one.
ONE_DOOR = {
    "store/sqlite.py": {"sqlite3", "apsw"},
    "store/postgres.py": {"asyncpg"},
    "settings.py": {"os.environ", "os.environb", "os.getenv", "os.putenv"},
    "clock.py": {
        *{"time", "random", "secrets", "os.urandom", "uuid.uuid1", "uuid.uuid4", "asyncio.sleep", "anyio.sleep"},
        *{"datetime.datetime.now", "datetime.datetime.utcnow", "datetime.datetime.today", "datetime.date.today"},
    },
}


def text_files() -> Iterator[Path]:
    for path in sorted(ROOT.rglob("*")):
        inside = path.relative_to(ROOT).parts
        if path.is_file() and path.suffix in TEXT and NOT_OURS.isdisjoint(inside) and inside[-1] != "LICENSE":
            yield path


def python_files(*folders: str) -> list[Path]:
    return [path for path in text_files() if path.suffix == ".py" and path.relative_to(ROOT).parts[0] in folders]


def our_python() -> list[Path]:
    return python_files("src", "apps", "tests", "benchmarks", "docs")


def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def at(path: Path, line: int, what: str) -> str:
    return f"{path.relative_to(ROOT)}:{line} {what}"


def names_used(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Yield each imported module or name, and each attribute read from one, written out in full."""
    origin: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                first = alias.name.partition(".")[0]
                origin[alias.asname or first] = alias.name if alias.asname else first
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            for alias in node.names:
                origin[alias.asname or alias.name] = f"{node.module}.{alias.name}"
                yield node.lineno, f"{node.module}.{alias.name}"
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            first, _, rest = ast.unparse(node).partition(".")
            if first in origin:
                yield node.lineno, f"{origin[first]}.{rest}"


def test_no_file_is_longer_than_a_room():
    code = [path for path in text_files() if path.suffix in {".py", ".sql", ".html", ".css", ".js", ""}]
    lengths = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in code}
    assert [at(path, lines, "lines") for path, lines in lengths.items() if lines > MOST_LINES_OF_A_FILE] == []


def test_no_function_is_longer_than_a_thought():
    found = []
    for path in our_python():
        for node in ast.walk(parsed(path)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                length = (node.end_lineno or node.lineno) - node.lineno + 1
                if length > MOST_LINES_OF_A_FUNCTION:
                    found.append(at(path, node.lineno, f"{node.name} has {length} lines"))
    assert found == []


def test_no_drawer_has_a_name_that_says_nothing():
    parts = {path: {Path(part).stem for part in path.relative_to(ROOT).parts} for path in our_python()}
    assert [at(path, 1, "name") for path, names in parts.items() if names & NAMES_WITHOUT_MEANING] == []


@pytest.mark.parametrize("door", ONE_DOOR)
def test_one_file_alone_touches(door):
    found = []
    for path in python_files("src"):
        if path == PACKAGE / door:
            continue
        for line, name in names_used(parsed(path)):
            if any(name == closed or name.startswith(f"{closed}.") for closed in ONE_DOOR[door]):
                found.append(at(path, line, f"uses {name}; only src/rota/{door} may"))
    assert found == []


def test_every_module_opens_by_saying_what_it_is_and_is_not():
    found = []
    for path in python_files("src", "apps"):
        words = ast.get_docstring(parsed(path)) or ""
        if path.name not in {"__init__.py", "__main__.py"} and not ("Always true:" in words and "Not here:" in words):
            found.append(at(path, 1, 'opens without "Always true: …" and "Not here: …"'))
    assert found == []


def test_nothing_is_marked_as_unfinished():
    assert _lines_that_match(UNFINISHED, {".py", ".md", ".sql", ".html", ".js"}) == []


def test_nothing_speaks_of_the_machine_it_was_made_on():
    assert _lines_that_match(FOREIGN, TEXT) == []


def test_no_test_of_pure_code_or_of_the_engine_sleeps():
    folders = [ROOT / "tests" / name for name in FOLDERS_WHERE_TIME_IS_MOVED]
    sleeping = re.compile(r"(?<!def )\bsleep\((?!0\))")
    found = _lines_that_match(sleeping, {".py"}, [path for path in our_python() if set(path.parents) & set(folders)])
    assert found == []


def test_no_import_goes_in_a_circle():
    graph = grimp.build_graph("rota", "apps", cache_dir=None)
    downwards = {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}
    try:
        graphlib.TopologicalSorter(downwards).prepare()
    except graphlib.CycleError as circle:
        pytest.fail(f"These import one another: {' ← '.join(circle.args[1])}")


def test_every_module_is_either_public_or_closed_to_the_systems():
    contracts = PYPROJECT["tool"]["importlinter"]["contracts"]
    closed = next(each["forbidden_modules"] for each in contracts if each.get("source_modules") == ["apps"])
    there = {path.stem for path in PACKAGE.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()}
    assert {f"rota.{name}" for name in there - PUBLIC_MODULES - {"__init__", "__main__"}} == set(closed)


def test_the_public_names_are_those_of_the_design():
    rota = importlib.import_module("rota")
    assert set(rota.__all__) == PUBLIC_NAMES
    assert {name for name in PUBLIC_NAMES if not getattr(rota, name).__doc__} == set()


def test_the_errors_are_the_tree_of_the_design():
    errors = importlib.import_module("rota.errors")
    kinds = {
        name: kind for name, kind in vars(errors).items() if isinstance(kind, type) and issubclass(kind, Exception)
    }
    assert set(kinds) == ERRORS
    codes = [kind.code for kind in kinds.values()]
    assert len(set(codes)) == len(codes), "each error has a code of its own"


def test_the_architecture_names_every_module_and_no_other():
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    named = set(re.findall(r"[\w./-]*\w\.(?:py|sql)\b", text))
    there = {str(path.relative_to(PACKAGE)) for path in PACKAGE.rglob("*.py") if not path.name.startswith("__")}
    gone = {name for name in named if not (PACKAGE / name).exists() and not (ROOT / name).exists()}
    assert there - named == set(), "modules that ARCHITECTURE.md does not name by their path below src/rota"
    assert gone == set(), "files that ARCHITECTURE.md names and that do not exist"


def test_the_changelog_and_the_package_agree_on_the_version():
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    newest = re.search(r"^## \[(\d+\.\d+\.\d+)\]", text, re.MULTILINE)
    assert newest is not None
    assert newest[1] == PYPROJECT["project"]["version"]


def test_make_explains_every_target():
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    phony = re.search(r"^\.PHONY: (.*)$", text, re.MULTILINE)
    assert phony is not None
    assert set(phony[1].split()) == set(re.findall(r"^([a-z-]+):.*## \S", text, re.MULTILINE))


def _lines_that_match(pattern: re.Pattern[str], suffixes: set[str], paths: list[Path] | None = None) -> list[str]:
    found = []
    for path in paths if paths is not None else text_files():
        if path.suffix in suffixes:
            lines = path.read_text(encoding="utf-8").splitlines()
            found += [at(path, number, line.strip()) for number, line in enumerate(lines, 1) if pattern.search(line)]
    return found
