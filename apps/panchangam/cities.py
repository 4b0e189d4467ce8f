"""The 500 cities of India that the almanac is kept for, by tier, slug and alias.

Always true: order is by importance, so a tier is a prefix of the list and holds the smaller tiers; slugs are unique;
look-ups take any case. Coordinates are GeoNames' (CC-BY 4.0, https://www.geonames.org), populations GeoNames' or those
of the Census of India 2011.

Not here: places outside the list, which are a Place of their own (almanac.records).
"""

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from importlib.resources import files

from apps.panchangam.almanac.records import Place

CREDIT = "City coordinates: GeoNames (geonames.org), CC-BY 4.0; populations: GeoNames and Census of India 2011."
TIERS = {"IN_TOP10": 10, "IN_TOP50": 50, "IN_TOP200": 200, "ALL": 500}  # how many cities each tier holds


class UnknownCity(LookupError):
    """No city or tier has this name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class City:
    """A city of the list; `order` counts from 1."""

    order: int
    slug: str
    name: str
    aliases: tuple[str, ...]
    population: int
    place: Place


@cache
def cities() -> tuple[City, ...]:
    """Give all cities in order.

    >>> [city.slug for city in cities()[:3]]
    ['mumbai', 'delhi', 'bengaluru']
    """
    text = files("apps.panchangam").joinpath("data", "india_cities.csv").read_text(encoding="utf-8")
    return tuple(_city(row) for row in csv.DictReader(text.splitlines()))


def tier(name: str) -> tuple[City, ...]:
    """Give the cities of a tier: IN_TOP10, IN_TOP50, IN_TOP200 or ALL, in any case. Raises UnknownCity.

    >>> len(tier("in_top50"))
    50
    """
    size = TIERS.get(name.strip().upper())
    if size is None:
        raise UnknownCity(f"Expected a tier of {', '.join(TIERS)}, found {name!r}; give one of these.")
    return cities()[:size]


def city(name: str) -> City:
    """Give a city by slug, name or alias, in any case. Raises UnknownCity, which names the nearest spelling.

    >>> city("Bangalore").slug
    'bengaluru'
    """
    found = _index().get(_key(name))
    if found is None:
        raise UnknownCity(f"Expected one of {len(cities())} Indian cities, found {name!r}; {_advice(name)}")
    return found


@cache
def _index() -> dict[str, City]:
    """Give every key of every city; a slug wins over a name, a name over an alias, a bigger city over a smaller."""
    index: dict[str, City] = {}
    for keys in (_slugs, _names, _aliases):
        for each in cities():
            for key in keys(each):
                index.setdefault(_key(key), each)
    return index


def _slugs(each: City) -> Iterator[str]:
    yield each.slug


def _names(each: City) -> Iterator[str]:
    yield each.name


def _aliases(each: City) -> Iterator[str]:
    yield from each.aliases


def _key(name: str) -> str:
    return "-".join(name.casefold().replace("_", " ").replace("-", " ").split())


def _advice(name: str) -> str:
    near = get_close_matches(_key(name), _index(), n=1)
    return f"did you mean {_index()[near[0]].slug!r}?" if near else "give a slug such as 'mumbai'."


def _city(row: dict[str, str]) -> City:
    place = Place(
        lat=float(row["latitude"]),
        lon=float(row["longitude"]),
        zone=row["timezone"],
        slug=row["slug"],
        name=row["name"],
        state=row["state"],
        elevation_m=float(row["elevation_m"] or 0),
    )
    return City(
        order=int(row["order"]),
        slug=row["slug"],
        name=row["name"],
        aliases=tuple(alias for alias in row["aliases"].split("|") if alias),
        population=int(row["population"]),
        place=place,
    )
