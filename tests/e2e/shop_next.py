"""The next release of the application: it knows one job more."""

from rota import Run
from tests.e2e.shop import note, rota


@rota.job
async def extra(run: Run) -> None:
    """What the earlier release does not know."""
    note("start", run)
    note("end", run)
