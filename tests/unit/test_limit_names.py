"""Which limit a name means, which of several rates holds, and a job's policies in words."""

import pytest

from rota.define.catalog import Catalog
from rota.define.job import job_spec
from rota.define.policy import Cap, Limit
from rota.insight.limits import jobs_of, limit_of
from rota.insight.policies import policies
from rota.store.scopes import fills


async def nothing() -> None:
    pass


def catalog(**jobs: dict) -> Catalog:
    found = Catalog()
    for name, options in jobs.items():
        found.add_job(job_spec(nothing, name=name, **options))
    return found


@pytest.mark.parametrize(
    ("template", "name", "answer"),
    [
        ("amazon", "amazon", True),
        ("amazon", "amazon-eu", False),
        ("ads:{region}", "ads:eu", True),
        ("ads:{region}", "ads:{region}", True),
        ("ads:{region}", "ads:", False),
        ("ads:{region}", "bads:eu", False),
        ("a.b:{x}", "aXb:1", False),
        ("{host}", "line\nbreak", True),
        ("{a}:{b}", "1:2", True),
        ("{a}:{b}", "12", False),
    ],
)
def test_a_template_means_every_name_that_its_holes_can_make(template: str, name: str, *, answer: bool) -> None:
    assert fills(template, name) is answer


def test_of_two_templates_that_fit_the_one_that_says_most_is_meant() -> None:
    known = catalog(one={"limit": Limit("{host}", "1/s")}, two={"limit": Limit("ads:{region}", "2/s")})
    for name, rate in (("ads:eu", "2/s"), ("mail", "1/s"), ("ads:{region}", "2/s")):
        limit = limit_of(known, name)
        assert limit is not None
        assert limit.rate == rate
    assert limit_of(catalog(one={"limit": Limit("amazon", "1/s")}), "ebay") is None


def test_of_several_rates_for_one_name_the_slowest_holds() -> None:
    rates = {"one": "20/s", "two": "60/m", "three": "2/s"}
    known = catalog(**{job: {"limit": Limit("amazon", rate)} for job, rate in rates.items()})
    limit = limit_of(known, "amazon")
    assert limit is not None
    assert limit.rate == "60/m"


def test_a_scope_belongs_to_the_jobs_that_declare_it_in_any_way() -> None:
    known = catalog(
        limited={"limit": Limit("host:{name}", "1/s")}, scoped={"scope": "host:a"}, other={"scope": "host:b"}
    )
    assert jobs_of(known, "host:a") == ["limited", "scoped"]


def test_policies_are_told_in_words_and_a_plain_job_has_none() -> None:
    assert policies(job_spec(nothing)) == []
    spec = job_spec(
        nothing,
        limit=[Limit("amazon", "30/m", burst=3), Limit("all", "1000/s")],
        cap=Cap(3),
        serial="{owner}",
        scope="llm:large",
    )
    assert policies(spec) == [
        "limit amazon 30/m, burst 3",
        "limit all 1000/s",
        "scope llm:large",
        "at most 3 at once",
        "one after the other for each {owner}",
    ]
