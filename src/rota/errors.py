"""The errors that rota raises, as one tree.

Always true: every error is a `RotaError` with a `code` that never changes, and a message of one
sentence that says what was expected, what was found and what to do. The tree:

    RotaError
    ├─ ConfigError            wrong use, found at import or at start
    │  ├─ DuplicateJob
    │  └─ BadSetting
    ├─ BadInput               a value from outside that cannot be taken
    ├─ StoreError
    │  ├─ StoreUnavailable    wait and try again
    │  └─ SchemaMismatch      library and database are of different ages
    ├─ NotFound
    └─ Conflict               the caller's view is out of date
       ├─ LeaseLost
       └─ IllegalTransition

Not here: outcomes such as `Retryable` or `Skip`, which are values (define/outcome), and the
mapping of errors to exit codes (cli) and HTTP statuses (web).
"""

from typing import ClassVar

__all__ = [
    "BadInput",
    "BadSetting",
    "ConfigError",
    "Conflict",
    "DuplicateJob",
    "IllegalTransition",
    "LeaseLost",
    "NotFound",
    "RotaError",
    "SchemaMismatch",
    "StoreError",
    "StoreUnavailable",
]


class RotaError(Exception):
    """Anything that rota refuses or cannot do.

    Every subclass has a `code`, a stable word for programs; the text is for people.

    >>> try:
    ...     raise BadInput("the key is empty; give the member a name")
    ... except RotaError as error:
    ...     print(error.code, "-", error)
    bad-input - the key is empty; give the member a name
    """

    code: ClassVar[str] = "error"


class ConfigError(RotaError):
    """rota is used wrongly: raised at import or at start, never worth a retry.

    >>> ConfigError("…").code
    'config'
    """

    code = "config"


class DuplicateJob(ConfigError):
    """Two jobs have the same name.

    >>> issubclass(DuplicateJob, ConfigError)
    True
    """

    code = "duplicate-job"


class BadSetting(ConfigError):
    """A setting from the environment or the command line has a value that cannot be taken.

    >>> issubclass(BadSetting, ConfigError)
    True
    """

    code = "bad-setting"


class BadInput(RotaError):
    """A key, zone, duration, argument or other value from outside cannot be taken.

    Nothing was written.

    >>> BadInput("…").code
    'bad-input'
    """

    code = "bad-input"


class StoreError(RotaError):
    """The database did not do what was asked.

    >>> StoreError("…").code
    'store'
    """

    code = "store"


class StoreUnavailable(StoreError):
    """The database is locked, gone or restarting: wait and try again.

    >>> issubclass(StoreUnavailable, StoreError)
    True
    """

    code = "store-unavailable"


class SchemaMismatch(StoreError):
    """The tables are older or newer than this release of rota; nothing was touched.

    >>> issubclass(SchemaMismatch, StoreError)
    True
    """

    code = "schema-mismatch"


class NotFound(RotaError):
    """No job, roster, member, turn or dead letter has this name or id.

    >>> NotFound("…").code
    'not-found'
    """

    code = "not-found"


class Conflict(RotaError):
    """What the caller saw is no longer true: look again, then decide.

    >>> Conflict("…").code
    'conflict'
    """

    code = "conflict"


class LeaseLost(Conflict):
    """Another attempt owns this run now; what this one did for rota is dropped.

    >>> issubclass(LeaseLost, Conflict)
    True
    """

    code = "lease-lost"


class IllegalTransition(Conflict):
    """The turn is in a state from which this step does not exist.

    >>> issubclass(IllegalTransition, Conflict)
    True
    """

    code = "illegal-transition"
