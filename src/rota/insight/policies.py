"""What a job declares that others can feel, in words: limits, scope, batch, cap, serial key, chain, catch-up.

Always true: a policy that is not declared is not named, so the list of a plain job is empty.

Not here: what the policies come to at this moment (limits, waits).
"""

from rota.define.job import JobSpec
from rota.define.units import duration_words


def policies(spec: JobSpec) -> list[str]:
    """The policies of a job, each in a few words.

    >>> from rota.define.job import job_spec
    >>> from rota.define.policy import Cap, Limit
    >>> async def sync() -> None: ...
    >>> policies(job_spec(sync, limit=Limit("shop", "20/s"), cap=Cap(2, by="owner")))
    ['limit shop 20/s', 'at most 2 at once for each owner']
    """
    found = []
    for limit in spec.limits:
        plain = max(1, limit.parsed.count * 1_000 // limit.parsed.per_ms)
        burst = "" if limit.burst == plain else f", burst {limit.burst:,}"
        found.append(f"limit {limit.name} {limit.rate}{burst}")
    if spec.scope is not None:
        found.append(f"scope {spec.scope}")
    if spec.batch is not None:
        pause = f", {duration_words(spec.batch.pause_ms)} in between" if spec.batch.pause_ms else ""
        found.append(f"batches of {spec.batch.size:,}{pause}")
    if spec.cap is not None:
        each = f" for each {spec.cap.by}" if spec.cap.by is not None else ""
        found.append(f"at most {spec.cap.n:,} at once{each}")
    if spec.serial is not None:
        found.append(f"one after the other for each {spec.serial}")
    if spec.links:
        found.append(f"chain {' → '.join(_link(link.name, link.scope) for link in spec.links)}")
    return found


def _link(name: str, scope: str | None) -> str:
    return name if scope is None else f"{name} ({scope})"
