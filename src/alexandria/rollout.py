"""Gradual rollout: switch, pause and cap harvesters while they run (docs/harvesting.md)."""

from collections.abc import Mapping
from dataclasses import fields, replace
from datetime import datetime

import structlog

from alexandria.domain.plans import Kind
from alexandria.domain.rollout import Harvester, Settings
from alexandria.stores.harvesters import HarvesterStore
from alexandria.stores.postgres import Connection

log = structlog.get_logger()

BY_A_PERSON = "paused by a person"
"""The reason of a pause for which nobody gave one."""


async def change_harvester(
    connection: Connection, kind: Kind, changes: Mapping[str, object], *, now: datetime
) -> Harvester:
    """Change some settings of a harvester, by the names of `Settings`, within the caller's transaction; returns it as it is then.

    Caps hold from the next reservation on. Runs that pause for a cap ask again. Raises InvalidInput for a value out of range.
    """
    store = HarvesterStore(connection)
    before = await store.lock(kind)
    current = {each.name: getattr(before, each.name) for each in fields(Settings)}
    after = Settings(**{**current, **changes})
    await store.save(kind, after)
    if (after.units_per_run, after.units_per_day) != (before.units_per_run, before.units_per_day):
        await store.let_capped_runs_try(kind, now=now)
    log.info("harvester.changed", harvester=kind, **changes)
    return replace(before, **{each.name: getattr(after, each.name) for each in fields(Settings)})


def pausing(reason: str | None, *, now: datetime) -> dict[str, object]:
    """The changes that pause a harvester."""
    return {"paused_at": now, "pause_reason": reason or BY_A_PERSON}


RESUMING: Mapping[str, object] = {"paused_at": None, "pause_reason": None}
"""The changes that let a paused harvester go on."""
