"""The policies on real processes: limits, cool-downs, steps and batches, with figures (design 6).

Always true: each measure has a store of its own; a naive way stands beside where there is one.

Not here: the measures themselves (limited.py, refused.py, steps.py, batches.py).
"""

from benchmarks import batches, limited, refused, steps
from benchmarks.plan import Plan
from benchmarks.stores import Stores
from benchmarks.table import Row


async def measure(stores: Stores, plan: Plan) -> list[Row]:
    """All of them."""
    rows = await limited.measure(stores, plan)
    rows += await refused.measure(stores, plan)
    rows += await steps.measure(stores, plan)
    return rows + await batches.measure(stores, plan)
