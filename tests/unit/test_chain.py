"""One attempt's way along the links of its job, without a store: what is called, what it comes to, what it tells.

Always true: scopes and links are doubles that note what they were asked.

Not here: the chain in the whole engine (tests/engine/test_fallback).
"""

import asyncio
import threading
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rota import Fail, Hold, PauseJob, RateLimited, Retryable, Rota, Skip, Snooze
from rota.clock import Clock
from rota.define.outcome import Outcome
from rota.engine.attempt import Places, call_isolated
from rota.engine.chain import STORY_MOST, Answered, Chain, Doors, story_of
from rota.errors import LeaseLost


class Cooling:
    """Scopes that cool as told, and a note of what they were told."""

    def __init__(self, **waits_ms: int) -> None:
        self.waits_ms = waits_ms
        self.told: list[tuple] = []
        self.fails = False

    def wait_ms(self, scope: str) -> int:
        return self.waits_ms.get(scope, 0)

    async def cool(self, scopes: list[str], after_ms: int | None, reason: str) -> None:
        for scope in scopes:
            self.told.append(("cool", scope, after_ms))
            self.waits_ms[scope] = 60_000 if after_ms is None else after_ms

    async def worked(self, scope: str) -> None:
        self.told.append(("worked", scope))

    def failed(self, scope: str) -> bool:
        self.told.append(("failed", scope))
        return self.fails


class Walk:
    """A job whose links a, b, c … come to what they are told: a value, an outcome, or an exception that is raised."""

    def __init__(self, *comes: object, on: object = None, **waits_ms: int) -> None:
        self.comes = dict(zip("abcdefgh", comes, strict=False))
        self.scopes = Cooling(**waits_ms)
        self.calls: list[str] = []
        self.over = False
        rota = Rota("sqlite:///:memory:")
        names = iter(self.comes)
        self.job = rota.job("job", scope=next(names))(_named("a"))
        for name in names:
            options = {} if on is None else {"on": on}
            self.job.fallback(scope=name, **options)(_named(name))

    async def call(self, link) -> object:
        self.calls.append(link.name)
        came = self.comes[link.name]
        if isinstance(came, BaseException):
            raise came
        return came

    async def go(self, **values: object) -> object:
        doors = Doors(call=self.call, values=lambda: values, over=lambda: self.over, never=(LeaseLost,))
        return await Chain(self.job.spec, doors, self.scopes).go()

    def told(self, word: str) -> list:
        return [entry[1:] for entry in self.scopes.told if entry[0] == word]


def _named(name: str):
    async def link() -> None: ...

    link.__name__ = name
    return link


LIMITED, DOWN = RateLimited("a", after="2m"), Retryable("503")
COMES = st.sampled_from(
    ["a value", None, LIMITED, RateLimited("z"), DOWN, TimeoutError(), KeyError("k"), Skip("s"), Hold("h"), Fail("f")]
)


@given(
    comes=st.lists(COMES, min_size=2, max_size=8),
    waits=st.lists(st.sampled_from([0, 0, 1, 90_000]), min_size=8, max_size=8),
    on=st.sampled_from([None, Exception, RateLimited, (Retryable, KeyError)]),
)
def test_no_link_is_called_twice_or_while_it_cools_and_the_attempt_comes_to_one_thing(comes, waits, on):
    walk = Walk(*comes, on=on, **dict(zip("abcdefgh", waits, strict=True)))
    cooling = {scope for scope, wait_ms in walk.scopes.waits_ms.items() if wait_ms}
    came = asyncio.run(walk.go())
    assert len(set(walk.calls)) == len(walk.calls)
    assert walk.calls == sorted(walk.calls)
    assert cooling.isdisjoint(walk.calls)
    assert isinstance(came, Answered | Exception)
    if isinstance(came, Answered):
        assert came.link == walk.calls[-1]
        assert (came.why is None) == (came.link == "a")
    elif not walk.calls:
        assert isinstance(came, RateLimited)


async def test_the_first_link_answers_at_once_and_there_is_nothing_to_tell():
    walk = Walk("yes", "no")
    assert await walk.go() == Answered(value="yes", link="a", why=None)
    assert walk.scopes.told == [("worked", "a")]


async def test_a_returned_outcome_counts_as_a_raised_one_does():
    walk = Walk("unused", "yes")
    walk.call = _returning(walk, a=LIMITED, b="yes")
    assert await walk.go() == Answered(value="yes", link="b", why="a: rate limited: a")
    assert walk.told("cool") == [("a", 120_000)]


def _returning(walk, **comes):
    async def call(link):
        walk.calls.append(link.name)
        return comes[link.name]

    return call


async def test_both_the_scope_that_the_service_named_and_the_one_that_was_declared_cool():
    walk = Walk(RateLimited("key:7", after="10s"), "yes")
    await walk.go()
    assert walk.told("cool") == [("a", 10_000), ("key:7", 10_000)]


async def test_all_cooling_comes_to_the_soonest_without_a_call():
    walk = Walk("x", "y", "z", a=60_000, b=20_000, c=7_200_000)
    came = await walk.go()
    assert (type(came), came.scope, came.after_ms) == (RateLimited, "b", 20_000)
    assert came.reason == "a: cooling for 60s; b: cooling for 20s; c: cooling for 2h"
    assert walk.calls == []


async def test_limited_and_cooling_links_come_to_the_shortest_wait_of_all():
    came = await Walk(LIMITED, "x", RateLimited("c"), b=61_000).go()
    assert (came.scope, came.after_ms) == ("c", 60_000)
    came = await Walk(RateLimited("a", after="5s"), "x", b=61_000).go()
    assert (came.scope, came.after_ms, came.reason) == ("a", 5_000, "a: rate limited: a; b: cooling for 61s")


@pytest.mark.parametrize("comes", [(LIMITED, DOWN), (DOWN, LIMITED), (DOWN, LIMITED, LIMITED)])
async def test_a_mixture_comes_to_the_last_real_failure(comes):
    came = await Walk(*comes).go()
    assert type(came) is Retryable
    assert "503" in came.reason
    assert came.reason.count(";") == len(comes) - 1
    assert DOWN.reason == "503"  # what the handler keeps and returns again and again stays as it is


async def test_an_outcome_keeps_its_parts_beside_the_story():
    came = await Walk(DOWN, Retryable("busy", after="30s")).go()
    assert (came.reason, came.after_ms) == ("a: 503; b: busy", 30_000)


async def test_an_outcome_of_the_users_own_that_cannot_be_copied_is_passed_on_as_it_is():
    class Quota(Retryable):
        def __init__(self, *, left: int) -> None:
            super().__init__(f"{left} left")
            self.left = left

    came = await Walk(DOWN, Quota(left=3)).go()
    assert (type(came), came.left, came.reason) == (Quota, 3, "3 left")


async def test_an_exception_is_passed_on_itself_with_the_story_beside_it():
    broken = ValueError("no\n  such thing")
    came = await Walk(DOWN, broken).go()
    assert came is broken
    assert story_of(came) == "a: 503; b: ValueError: no such thing"
    assert story_of(ValueError("another")) is None


async def test_what_no_later_link_stands_in_for_ends_the_chain_untouched():
    for came in (KeyError("k"), Fail("gone"), Skip("nothing"), Snooze("5m"), PauseJob("bad key")):
        walk = Walk(came, "yes")
        assert await walk.go() is came
        assert walk.calls == ["a"]
        assert story_of(came) is None


async def test_a_rate_limit_that_no_later_link_stands_in_for_ends_the_chain_untouched_and_cools():
    walk = Walk(LIMITED, "yes", on=Retryable)
    assert await walk.go() is LIMITED
    assert walk.told("cool") == [("a", 120_000)]


async def test_an_exception_that_is_raised_again_and_again_tells_its_newest_story_only():
    broken = ValueError("no")
    broken.add_note("the user's own")
    for _ in range(3):
        came = await Walk(DOWN, broken).go()
    assert came.__notes__ == ["the user's own", "links: a: 503; b: ValueError: no"]


async def test_a_link_that_is_not_for_a_failure_is_passed_over_for_one_that_is():
    walk = Walk(KeyError("k"), "no", "yes")
    first, second, third = walk.job.spec.links
    rota = Rota("sqlite:///:memory:")
    walk.job = rota.job("job")(first.function)
    walk.job.fallback(second.function)
    walk.job.fallback(on=KeyError)(third.function)
    assert await walk.go() == Answered(value="yes", link="c", why="a: KeyError: 'k'; b: not for KeyError")


@pytest.mark.parametrize(("kinds", "calls"), [((RateLimited,), 1), ((RateLimited, Retryable), 2), (Exception, 2)])
async def test_a_narrow_on_lets_other_failures_end_the_chain(kinds, calls):
    walk = Walk(DOWN, "yes", on=kinds)
    await walk.go()
    assert len(walk.calls) == calls


async def test_a_cooling_link_is_passed_over_whatever_the_next_one_stands_in_for():
    walk = Walk("x", "yes", on=KeyError, a=5_000)
    assert await walk.go() == Answered(value="yes", link="b", why="a: cooling for 5s")


async def test_a_lost_lease_ends_the_chain_whatever_the_links_stand_in_for():
    walk = Walk(LeaseLost("another's"), "yes", on=Exception)
    assert isinstance(await walk.go(), LeaseLost)
    assert walk.calls == ["a"]


async def test_an_attempt_that_was_called_off_calls_no_further_link():
    walk = Walk(DOWN, "yes")
    walk.over = True
    assert isinstance(await walk.go(), Retryable)
    assert walk.calls == ["a"]


async def test_a_cancellation_passes_through():
    walk = Walk(asyncio.CancelledError(), "yes", on=Exception)
    with pytest.raises(asyncio.CancelledError):
        await walk.go()
    assert walk.calls == ["a"]


@pytest.mark.parametrize(
    ("came", "told"),
    [
        ("yes", [("worked", "a")]),
        (Fail("gone"), [("worked", "a")]),
        (Hold("consent"), [("worked", "a")]),
        (DOWN, [("failed", "a")]),
        (TimeoutError(), [("failed", "a")]),
        (ConnectionError(), [("failed", "a")]),
        (KeyError("a slip of the code"), []),
        (Snooze("1m"), []),
    ],
)
async def test_what_a_link_comes_to_tells_of_its_scope(came, told):
    walk = Walk(came, Skip("end"), on=TimeoutError)
    await walk.go()
    assert [entry for entry in walk.scopes.told if entry[-1] == "a"] == told


async def test_one_failure_too_many_in_a_row_puts_the_scope_on_cool_down():
    walk = Walk(DOWN, "yes")
    walk.scopes.fails = True
    await walk.go()
    assert walk.told("cool") == [("a", None)]


def without_scopes(*comes) -> Walk:
    walk = Walk(*comes)
    functions = [link.function for link in walk.job.spec.links]
    walk.job = Rota("sqlite:///:memory:").job("job")(functions[0])
    for function in functions[1:]:
        walk.job.fallback(function)
    return walk


async def test_a_link_without_a_scope_learns_the_one_that_its_service_names():
    walk = without_scopes(RateLimited("llm:x", after="10s"), "yes")
    await walk.go(member="7")
    assert (await walk.go(member="8")).why == "a: cooling for 10s"
    assert walk.calls == ["a", "b", "b"]


async def test_a_scope_of_one_member_alone_is_not_learned_for_all():
    walk = without_scopes(RateLimited("account:7", after="10s"), "yes")
    await walk.go(member="7")
    walk.comes["a"] = "well"
    assert (await walk.go(member="8")).link == "a"


async def test_a_story_is_bounded_and_one_line():
    walk = Walk(*[ValueError("x" * 5_000 + "\n")] * 8, on=Exception)
    story = story_of(await walk.go())
    assert len(story) <= STORY_MOST
    assert "\n" not in story
    assert story.count("ValueError") == 8


async def test_a_plain_function_past_the_time_limit_of_its_link_is_left_behind_in_its_thread():
    gate, places, rota = threading.Event(), Places(Clock(), 2), Rota("sqlite:///:memory:")

    @rota.job
    def down() -> None:
        raise Retryable("503")

    @down.fallback(timeout="10ms")
    def stuck() -> str:
        gate.wait(20)
        return "too late"

    @down.fallback
    async def rules() -> str:
        return "rules"

    async def call(link) -> object:
        return await link.function() if link.is_async else await places.call(down.spec, {}, link.function)

    doors = Doors(call=call, values=dict, over=lambda: False, never=())
    try:
        came = await Chain(down.spec, doors, Cooling()).go()
    finally:
        gate.set()
        places.close()
    why = "down: 503; stuck: TimeoutError: the link stuck took longer than 10ms"
    assert came == Answered(value="rules", link="rules", why=why)


@pytest.mark.parametrize("kind", [TimeoutError, ConnectionError, ConnectionResetError])
def test_what_says_that_a_service_is_at_fault_comes_back_from_another_process_as_such(kind):
    def handler() -> None:
        raise kind("gone")

    with pytest.raises((TimeoutError, ConnectionError), match="gone"):
        call_isolated(handler, {})


async def test_every_outcome_is_told_in_words():
    for came in (RateLimited("s"), Retryable(), Retryable("503"), Snooze("1m"), Skip(""), Outcome("mine")):
        walk = Walk(came, "yes", on=Exception)
        assert (await walk.go()).why == f"a: {came.reason or type(came).__name__}"


@pytest.mark.parametrize("declared", ["a", None])
async def test_a_scope_is_closed_for_the_next_run_of_the_process_before_the_store_has_answered(declared):
    walk = Walk(RateLimited("key", after="10s"), "yes")
    first, second = walk.job.spec.links
    walk.job.spec = replace(walk.job.spec, links=(replace(first, scope=declared), second))
    note, answered = walk.scopes.cool, asyncio.Event()

    async def slow(scopes, after_ms, reason):
        await note(scopes, after_ms, reason)
        await answered.wait()

    walk.scopes.cool = slow
    refused = asyncio.ensure_future(walk.go())
    await asyncio.sleep(0)
    assert (await walk.go()).link == "b"
    answered.set()
    assert (await refused).link == "b"
    assert walk.calls == ["a", "b", "b"]
