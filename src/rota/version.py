"""The version of this release, as workers tell it and `rota -V` prints it.

Always true: it equals the version of the installed package.

Not here: the version of the store's schema (store/schema.py).
"""

from importlib.metadata import PackageNotFoundError, version


def _installed() -> str:
    try:
        return version("rota")
    except PackageNotFoundError:
        return "0.1.0"  # run from a checkout that was not installed


VERSION = _installed()
