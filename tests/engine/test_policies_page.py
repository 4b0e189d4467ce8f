"""The page of policies, lived: what it declares does what it says.

Always true: the jobs are those of the page, executed as they stand there.

Not here: that the blocks of other pages run (test_docs.py), each policy in depth (test_limits.py and its neighbours).
"""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from rota import Rota
from rota.testing import isolated
from tests.test_docs import BLOCK, ROOT

SAYS = ("later", "closed", "consent", "nonsense", "busy", "nothing")


@pytest.fixture
def page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    monkeypatch.chdir(tmp_path)
    told: dict[str, Any] = {"__name__": "page"}
    for block in BLOCK.findall((ROOT / "docs/policies.md").read_text(encoding="utf-8")):
        exec(compile(block, "docs/policies.md", "exec"), told)  # noqa: S102 -- that is the test
    return told


async def test_the_page_of_policies_does_what_it_says(page: dict[str, Any]) -> None:
    rota: Rota = page["rota"]
    async with isolated(rota) as held:
        for says in SAYS:
            await page["sellers"].join(says, data={"region": "eu", "says": says}, owner="ada")
            for job in ("campaigns", "reports", "letter", "ledger", "sync", "statement"):
                await page[job].run_now(says)
        await page["apply"].enqueue("ada", 1)
        await page["summary"].enqueue("a long text")
        await held.drain("2026-01-01T00:05:00Z")
        journal = await held.journal()
    came = Counter((row["job"], row["outcome"]) for row in journal)
    ends = {row["member"]: row["outcome"] for row in journal if row["job"] == "statement"}
    all_of_them = len(SAYS)
    assert ends == dict(zip(SAYS, ("snoozed", "skipped", "held", "dead", "dead", "succeeded"), strict=True))
    assert {came[job, "succeeded"] for job in ("campaigns", "reports", "letter", "ledger", "digest")} == {all_of_them}
    assert came["sync", "succeeded"] >= all_of_them
    assert came["apply", "succeeded"] == came["summary", "succeeded"] == 1


async def test_a_job_that_its_handler_paused_needs_attention_at_once(page: dict[str, Any]) -> None:
    rota: Rota = page["rota"]
    async with isolated(rota) as held:
        await page["sellers"].join("s1", data={"says": "key"})
        await page["statement"].run_now("s1")
        await held.drain()
        found = await rota.status()
    assert [one.text for one in found.matters] == ["job statement paused by rota for 0 s: the API key was revoked"]
