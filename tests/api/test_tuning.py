"""Tuning over HTTP: every dial, where it stands and why."""

from typing import Any

from alexandria.domain.tuning import DIALS, Change
from alexandria.stores.postgres import Database
from alexandria.stores.tuning import TuningStore


async def test_every_dial_is_told_with_its_bounds_and_what_changed_it(
    client: Any, database: Database
) -> None:
    try:
        async with database.transaction() as connection:
            await TuningStore(connection).change(Change("items_at_once", 4, 2, "50% of 40 failed"))
        told = {each["name"]: each for each in (await client.get("/api/tuning")).json["dials"]}
        metrics = (await client.get("/metrics")).body.decode()
    finally:
        async with database.transaction() as connection:
            await connection.execute("DELETE FROM dials")
            await connection.execute("DELETE FROM dial_changes")
    assert told.keys() == DIALS.keys()
    dial = told["items_at_once"]
    assert (dial["value"], dial["low"], dial["high"], dial["start"], dial["pinned"]) == (2, 2, 8, 4, False)
    assert [(each["before"], each["after"], each["reason"]) for each in dial["changes"]] == [
        (4, 2, "50% of 40 failed")
    ]
    assert told["isbndb_seconds"]["changes"] == []
    assert 'alexandria_dial_value{dial="items_at_once"} 2' in metrics
