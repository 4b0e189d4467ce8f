"""An HTTP client for handlers: it spends limits, speaks in outcomes, and can be caged to public addresses.

It needs the extra `http`: `pip install 'rota[http]'`.
"""

try:
    import httpx2 as _httpx2  # noqa: F401 - asked for first, to say in one sentence what is missing
except ModuleNotFoundError as error:
    from rota.errors import ConfigError

    raise ConfigError(f"rota.http needs the package {error.name}: pip install 'rota[http]'") from error

from rota.http.answer import Response
from rota.http.client import Client
from rota.http.headers import retry_after
from rota.http.network import Network
from rota.http.verdict import Ambiguous

__all__ = ["Ambiguous", "Client", "Network", "Response", "retry_after"]
