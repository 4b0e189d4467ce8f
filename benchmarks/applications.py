"""The applications that are measured: no-op jobs on the store that the environment names.

Always true: handlers do nothing but mark that they ran, so what is measured is the engine.

Not here: stores and processes (stores.py, children.py).
"""

from rota import Limit, Member, Rota, every


def _nobody() -> None:
    """Nobody counts yet."""


class Counting:
    """Whom the handlers tell that they ran."""

    mark = staticmethod(_nobody)


one = Rota(name="one")
members = one.roster("members")


@one.job
async def noop(number: int) -> None:
    Counting.mark()


@one.job(each=members, schedule=every("24h"))
async def refresh(member: Member) -> None:
    Counting.mark()


three = Rota(name="three")
people = three.roster("people")


@three.job(each=people, schedule=every("24h"))
async def first(person: Member) -> None:
    Counting.mark()


@three.job(each=people, schedule=every("12h"))
async def second(person: Member) -> None:
    Counting.mark()


@three.job(each=people, schedule=every("7d"))
async def third(person: Member) -> None:
    Counting.mark()


late = Rota(name="late")
houses = late.roster("houses", facets=["region"])


@late.job(each=houses, schedule=every("1h"))
async def owe(house: Member) -> None:
    Counting.mark()


@late.job(limit=Limit("slow", "50/s"))
async def ask(number: int) -> None:
    Counting.mark()
