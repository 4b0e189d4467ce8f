"""What an application declares: its jobs and rosters, by name and in order.

Always true: a name stands for one job; followers come after what they follow, in `ordered()`; the bit of a
leader in its follower's mask is its place in `after`.

Not here: what a job or roster is (job.py, roster.py), turns.
"""

from collections.abc import Iterator
from dataclasses import replace
from functools import cached_property
from typing import NamedTuple

from rota.define.job import JobSpec
from rota.define.names import nearest
from rota.define.roster import RosterSpec
from rota.errors import ConfigError, DuplicateJob, NotFound


class Follower(NamedTuple):
    """A job that follows another: the bit its leader sets, and the bits of all its leaders."""

    spec: JobSpec
    bit: int
    leaders: int


class Catalog:
    """The jobs and rosters of one application (or of several, composed)."""

    def __init__(self) -> None:
        self.jobs: dict[str, JobSpec] = {}
        self.rosters: dict[str, RosterSpec] = {}

    def add_roster(self, spec: RosterSpec) -> None:
        """Take a roster; a second one of the name is refused."""
        if spec.name in self.rosters:
            message = (
                f"the roster {spec.name!r} is declared twice: use the object of the first declaration, or another name"
            )
            raise ConfigError(message)
        self.rosters[spec.name] = spec

    def add_job(self, spec: JobSpec) -> None:
        """Take a job; a second one of the name is refused, and so is a leader that is not there."""
        if spec.name in self.jobs:
            message = f"the job {spec.name!r} is declared twice: a job's name is for ever, give one of them `name=`"
            raise DuplicateJob(message)
        for leader in spec.after:
            if leader not in self.jobs:
                message = f"the job {spec.name!r} follows {leader!r}, which is not declared before it"
                raise ConfigError(message + nearest(leader, self.jobs))
            if self.jobs[leader].each != spec.each:
                message = f"the job {spec.name!r} follows {leader!r}: both need the same `each`"
                raise ConfigError(message)
            if self.jobs[leader].one_off:
                message = f"the job {spec.name!r} cannot follow the one-off {leader!r}: let its handler enqueue instead"
                raise ConfigError(message)
        if spec.after and spec.target_ms is None:
            leaders = [self.jobs[leader] for leader in spec.after]
            target_ms = max(leader.target_ms or 0 for leader in leaders)
            grace_ms = max(leader.grace_ms or 0 for leader in leaders)
            spec = replace(spec, target_ms=target_ms, grace_ms=grace_ms)  # a follower is as fresh as what it follows
        self.jobs[spec.name] = spec
        self.__dict__.pop("followers", None)

    def job(self, name: str) -> JobSpec:
        """The job of that name, or `NotFound` with the nearest one."""
        found = self.jobs.get(name)
        if found is None:
            message = f"there is no job {name!r}{nearest(name, self.jobs)}"
            raise NotFound(message)
        return found

    def roster(self, name: str) -> RosterSpec:
        """The roster of that name, or `NotFound` with the nearest one."""
        found = self.rosters.get(name)
        if found is None:
            message = f"there is no roster {name!r}{nearest(name, self.rosters)}"
            raise NotFound(message)
        return found

    def of_roster(self, name: str) -> list[JobSpec]:
        """The jobs that run for each member of a roster."""
        return [spec for spec in self.jobs.values() if spec.each == name]

    def ordered(self) -> Iterator[JobSpec]:
        """Every job in the order of declaration, which puts followers after what they follow."""
        yield from self.jobs.values()

    @cached_property
    def followers(self) -> dict[str, list[Follower]]:
        """Who follows a job, by the leader's name."""
        found: dict[str, list[Follower]] = {}
        for spec in self.jobs.values():
            mask = (1 << len(spec.after)) - 1
            for place, leader in enumerate(spec.after):
                found.setdefault(leader, []).append(Follower(spec, 1 << place, mask))
        return found
