"""Links of a fallback chain as declared: what is worked out, and what is refused at import."""

from functools import partial

import pytest

from rota import Batch, Member, RateLimited, Retryable, Rota, Run, every
from rota.define.link import MOST_LINKS
from rota.errors import ConfigError


def rules() -> None: ...


def app() -> tuple[Rota, object]:
    rota = Rota("sqlite:///:memory:")
    return rota, rota.roster("users")


def letter_of(rota, users, **options):
    @rota.job("letter", each=users, schedule=every("24h"), **options)
    async def big(user: Member) -> None: ...

    return big


def test_a_link_stays_a_plain_function_and_stands_in_the_chain_behind_the_handler():
    rota, users = app()
    letter = letter_of(rota, users, scope="llm:big")

    @letter.fallback(on=(RateLimited, OSError), scope="llm:small:{region}", timeout="30s")
    async def small(user: Member, run: Run) -> str:
        return "small"

    @letter.fallback
    def rules(user: Member) -> str:
        return f"dear {user.key}"

    assert rules(Member("ada")) == "dear ada"
    first, second, third = letter.spec.links
    assert [link.name for link in letter.spec.links] == ["big", "small", "rules"]
    assert [link.scope for link in letter.spec.links] == ["llm:big", "llm:small:{region}", None]
    assert [link.is_async for link in letter.spec.links] == [True, True, False]
    assert [link.timeout_ms for link in letter.spec.links] == [None, 30_000, None]
    assert (first.on, second.on, third.on) == ((), (RateLimited, OSError), (RateLimited, Retryable, TimeoutError))
    assert [third.takes(came) for came in (Retryable("503"), TimeoutError(), ConnectionError())] == [True, True, False]


def test_every_holder_of_the_job_sees_a_link_that_is_declared_later():
    rota, users = app()
    letter = letter_of(rota, users)
    rota.job("after", each=users, after=letter)(lambda: None)
    hurried = rota.job("note")(lambda: None).options(delay="1s")
    assert rota.catalog.followers["letter"][0].spec.name == "after"
    whole = Rota("sqlite:///:memory:")
    whole.include(rota)
    letter.fallback(rules)
    hurried.fallback(rules)
    for catalog in (rota.catalog, whole.catalog):
        assert catalog.jobs["letter"].links == letter.spec.links
        assert catalog.jobs["note"].links == hurried.spec.links
        assert [len(spec.links) for spec in catalog.ordered()] == [2, 0, 2]


def test_a_link_of_a_follower_is_seen_by_what_leads_it():
    rota, users = app()
    letter = letter_of(rota, users)
    after = rota.job("after", each=users, after=letter)(lambda: None)
    assert rota.catalog.followers["letter"][0].spec.links == ()
    after.fallback(partial(rules))
    assert rota.catalog.followers["letter"][0].spec is after.spec


def test_a_link_may_take_less_than_the_handler_and_more_with_defaults():
    rota, _ = app()

    @rota.job
    async def mail(address: str, *, text: str = "") -> None: ...

    @mail.fallback
    def short(*, address: str, model: str = "x") -> None: ...

    assert mail.spec.links[1].arguments.parameters == ("address", "model")


def needs_subject(subject: str) -> None: ...


def needs_addressee(addressee: str) -> None: ...


def needs_text(text: str) -> None: ...


def takes_member(user: Member) -> None: ...


def takes_members(users: list[Member]) -> None: ...


def yields():
    yield 1


def unread(address: "Nowhere") -> None: ...  # noqa: F821 - a name that is nowhere


@pytest.mark.parametrize(
    ("function", "options", "said"),
    [
        (needs_addressee, {}, "needs 'addressee', no argument of the job: did you mean 'address'?"),
        (needs_subject, {}, "needs 'subject', no argument of the job: known are address, text"),
        (needs_text, {}, "needs 'text', for which the job's own handler has a default: give it one too"),
        (takes_member, {}, "takes a Member, but the job has no each=: drop it"),
        (takes_members, {}, "takes list[Member]: take one Member"),
        (yields, {}, "is a generator: return a value instead of yielding"),
        (unread, {}, "cannot be read"),
        ("small", {}, "a fallback of the job 'mail' must be a function, not 'small'"),
        (str.upper, {"on": ()}, "by position only"),
        (lambda: None, {"on": ()}, "is empty, so it would never be called"),
        (lambda: None, {"on": "RateLimited"}, "must name kinds of exceptions or outcomes"),
        (lambda: None, {"on": (RateLimited, KeyboardInterrupt)}, "must name kinds of exceptions or outcomes"),
        (lambda: None, {"on": RateLimited("llm")}, "must name kinds of exceptions or outcomes"),
        (lambda: None, {"scope": "llm:{"}, "scope= of the fallback '<lambda>' of the job 'mail' may have holes"),
        (lambda: None, {"timeout": "soon"}, "must be a duration"),
        (lambda: None, {"timeout": "0s"}, "must be at least"),
        (lambda: None, {"timeout": "20m"}, "is 20m, but the whole chain has 10m"),
    ],
)
def test_a_link_that_could_not_be_called_is_refused_at_import_with_a_sentence(function, options, said):
    rota, _ = app()

    @rota.job
    async def mail(address: str, *, text: str = "") -> None: ...

    with pytest.raises(ConfigError) as refused:
        mail.fallback(**options)(function)
    assert said in str(refused.value)
    assert mail.spec.links == ()


def test_two_links_of_a_chain_have_two_names():
    rota, users = app()
    letter = letter_of(rota, users)

    async def big(user: Member) -> None: ...

    with pytest.raises(ConfigError, match="two links of the job 'letter' are named 'big'"):
        letter.fallback(big)


def test_a_chain_has_an_end():
    rota, users = app()
    letter = letter_of(rota, users)
    for number in range(MOST_LINKS - 1):
        link = lambda: None  # noqa: E731 - each with a name of its own
        link.__name__ = f"link{number}"
        letter.fallback(link)
    with pytest.raises(ConfigError, match=f"more than {MOST_LINKS} links"):
        letter.fallback(lambda: None)


def test_a_handler_of_whole_batches_has_no_fallbacks():
    rota, users = app()

    @rota.job(each=users, schedule=every("24h"), batch=Batch(10))
    async def all_at_once(users: list[Member]) -> None: ...

    with pytest.raises(ConfigError, match="so it cannot have fallbacks"):
        all_at_once.fallback(lambda: None)
