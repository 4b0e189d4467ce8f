"""What the two tables hold and how they are read: rows, bytes, and whether their indexes are used.

Always true: it only asks; a plan is the planner's own, for a look-up by all columns of the unique index.

Not here: the tables themselves (tables).
"""

from typing import Any, Final, TypeAlias

from sqlalchemy import Connection, func, inspect, select, text

from apps.panchangam.tables import UNIQUE, FestivalDay, PanchangDay

Json: TypeAlias = dict[str, Any]

_SAMPLES: Final = {
    "date": "'2026-01-01'",
    "lat": "19.0728",
    "lon": "72.8826",
    "type": "'festival'",
    "region": "'north'",
    "festival": "'diwali'",
}


def table_facts(connection: Connection) -> Json:
    """Give for each table its rows, bytes, indexes, and whether a look-up by its index uses it."""
    return {
        table.__tablename__: {
            "rows": connection.scalar(select(func.count()).select_from(table)),
            "bytes": _bytes(connection, table),
            "indexes": sorted(str(index["name"]) for index in inspect(connection).get_indexes(table.__tablename__)),
            "indexUsed": _index_used(connection, table),
        }
        for table in (PanchangDay, FestivalDay)
    }


def _bytes(connection: Connection, table: type[PanchangDay | FestivalDay]) -> int:
    """Give the size of a table: with its indexes on PostgreSQL, that of its payloads on SQLite."""
    if connection.dialect.name == "postgresql":
        size = connection.scalar(
            text("SELECT pg_total_relation_size(to_regclass(:name))"), {"name": table.__tablename__}
        )
    else:
        size = connection.scalar(select(func.coalesce(func.sum(func.length(table.payload)), 0)))
    return int(size or 0)


def _index_used(connection: Connection, table: type[PanchangDay | FestivalDay]) -> bool:
    """Ask the planner whether it would answer the look-up that the index is for with it.

    Small tables are read whole on PostgreSQL, so sequential scans are taken out of the choice there.
    """
    columns = UNIQUE[table]
    where = " AND ".join(f"{name} = {_SAMPLES[name]}" for name in columns)
    question = f"SELECT payload FROM {table.__tablename__} WHERE {where}"  # noqa: S608 -- names and samples of our own
    if connection.dialect.name == "postgresql":
        connection.execute(text("SET LOCAL enable_seqscan = off"))
        plan = connection.execute(text(f"EXPLAIN {question}"))
    else:
        plan = connection.execute(text(f"EXPLAIN QUERY PLAN {question}"))
    index = f"{table.__tablename__}_{'_'.join(columns)}"
    return any(index in str(part) for row in plan for part in row)
