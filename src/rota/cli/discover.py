"""Finds the application that a command speaks of: `--app`, `ROTA_APP`, `pyproject.toml`, `rota_app.py`, `app.py`.

Always true: the first place that says something decides; when none does, the message lists all four and what was
tried; whatever happens while the application is imported is one sentence that names the place.

Not here: the store's URL (session.py).
"""

import importlib
import importlib.util
import sys
import tomllib
import traceback
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

from rota.app.rota import Rota
from rota.define.names import nearest
from rota.errors import ConfigError, RotaError

FILES = ("rota_app.py", "app.py")


class Place(NamedTuple):
    """Where an application is said to be: the reference, the folder it is relative to, and who says so."""

    reference: str
    folder: Path
    said_by: str


class Found(NamedTuple):
    """An application and the reference it was found by."""

    rota: Rota
    reference: str


def find(option: str | None, variable: str | None, folder: Path) -> Found:
    """The application that `--app`, `ROTA_APP`, a `pyproject.toml` or a file of the folder names."""
    place = _place(option, variable, folder)
    for where in (place.folder, folder):  # the working directory ends up first
        text = str(where)
        if text in sys.path:
            sys.path.remove(text)
        sys.path.insert(0, text)
    name, colon, attribute = place.reference.partition(":")
    if not name or (colon and not attribute):
        raise ConfigError(f"{place.said_by} must be module[:attr] or file.py[:attr], not {place.reference!r}")
    module = _module(name, place)
    return Found(_picked(module, attribute, place), place.reference)


def _place(option: str | None, variable: str | None, folder: Path) -> Place:
    if option:
        return Place(option, folder, "--app")
    if variable:
        return Place(variable, folder, "ROTA_APP")
    tried: list[str] = []
    for parent in (folder, *folder.parents):
        file = parent / "pyproject.toml"
        if file.is_file():
            reference = _from_pyproject(file)
            if reference is not None:
                return Place(reference, parent, f"[tool.rota] app in {file}")
            tried.append(f"{file} has no [tool.rota] app")
            break
    else:
        tried.append(f"no pyproject.toml in {folder} or above")
    for name in FILES:
        if (folder / name).is_file():
            return Place(name, folder, name)
    message = (
        "no application was found. It is looked for in four places: --app module:attr (not given), ROTA_APP (not set), "
        f"[tool.rota] app in pyproject.toml ({tried[0]}), and {' or '.join(FILES)} (neither is in {folder})"
    )
    raise ConfigError(message)


def _from_pyproject(file: Path) -> str | None:
    try:
        content = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{file} cannot be read: {error}") from error
    section = content.get("tool", {}).get("rota", {})
    reference = section.get("app") if isinstance(section, dict) else None
    if reference is not None and not isinstance(reference, str):
        raise ConfigError(f'[tool.rota] app in {file} must be text such as "shop.jobs:rota", not {reference!r}')
    return reference


def _module(name: str, place: Place) -> ModuleType:
    file = place.folder / name
    if name.endswith(".py") and not file.is_file():
        raise ConfigError(f"{place.said_by} says {place.reference!r}, but there is no file {file}")
    try:
        return _from_file(file) if name.endswith(".py") else importlib.import_module(name)
    except Exception as error:
        missing = error.name if isinstance(error, ModuleNotFoundError) else None
        if missing is not None and f"{name}.".startswith(f"{missing}."):
            message = f"{place.said_by} says {place.reference!r}, but there is no module {missing!r} in {place.folder}"
            raise ConfigError(message) from error
        raise _failed(error, place) from error


def _from_file(path: Path) -> ModuleType:
    folder = str(path.parent)
    if folder not in sys.path:
        sys.path.insert(1, folder)  # so that a process pool can import it by name, too
    specification = importlib.util.spec_from_file_location(path.stem, path)
    if specification is None or specification.loader is None:
        raise ConfigError(f"{path} cannot be read as Python")
    module = importlib.util.module_from_spec(specification)
    sys.modules[path.stem] = module
    specification.loader.exec_module(module)
    return module


def _failed(error: Exception, place: Place) -> ConfigError:
    """One sentence for what went wrong inside the application, with its innermost line outside of rota."""
    frames = traceback.extract_tb(error.__traceback__)
    library = str(Path(__file__).parent.parent)
    ours = [one for one in frames if not one.filename.startswith((library, "<frozen"))]
    at = f" ({Path(ours[-1].filename).name}:{ours[-1].lineno})" if ours else ""
    if isinstance(error, SyntaxError):
        at = f" ({Path(error.filename or '').name}:{error.lineno})"
    what = str(error) if isinstance(error, RotaError) else f"{type(error).__name__}: {error}"
    return ConfigError(f"the application {place.reference} cannot be imported{at}: {what}")


def _picked(module: ModuleType, attribute: str, place: Place) -> Rota:
    if attribute:
        found: object = module
        for part in attribute.split("."):
            if not hasattr(found, part):
                hint = nearest(part, [name for name, value in vars(module).items() if isinstance(value, Rota)])
                raise ConfigError(
                    f"{place.said_by} says {place.reference!r}, but {module.__name__} has no {part!r}{hint}"
                )
            found = getattr(found, part)
        if not isinstance(found, Rota):
            raise ConfigError(
                f"{place.said_by} says {place.reference!r}, which is a {type(found).__name__} and no Rota"
            )
        return found
    named = {name: value for name, value in vars(module).items() if isinstance(value, Rota) and not value.included}
    if len({id(value) for value in named.values()}) == 1:
        return next(iter(named.values()))
    if not named:
        raise ConfigError(
            f"{place.said_by} says {place.reference!r}, but {module.__name__} holds no Rota: make one there"
        )
    names = ", ".join(sorted(named))
    raise ConfigError(f"{place.reference} holds several Rota ({names}): say which, as {place.reference}:{min(named)}")
