"""The schedule's part of the configuration: tables `[schedule.<name>]` of the TOML file, over the entries that are built in.

    [schedule.new-releases]
    cron = "0 5 * * *"
    time_zone = "Europe/Lisbon"

A table changes the fields that it names; a table with a new name is a new entry. docs/schedule.md has every field.
"""

import difflib
import re
from collections.abc import Callable, Mapping
from datetime import tzinfo
from typing import Any
from zoneinfo import ZoneInfo

from alexandria.domain.errors import ConfigurationError
from alexandria.domain.quota import Lane
from alexandria.domain.schedule import Cron, Entry, Missed

DEFAULTS: Mapping[str, Mapping[str, Any]] = {
    "covers": {"cron": "*/5 * * * *", "harvester": "covers", "lane": "bulk", "missed": "skip"},
    "new-releases": {"cron": "30 3 * * *", "harvester": "new-releases", "lane": "scheduled"},
    # Every twenty minutes of the night, so that the next tier begins soon after the former one is done.
    "tiers": {
        "cron": "*/20 1-5 * * *",
        "harvester": "authors",
        "lane": "bulk",
        "parameters": {"tier": ["top-1000", "1000-5000", "5000-20000"]},
    },
    # Whatever the day has left in the evening buys nothing tomorrow.
    "gaps": {
        "cron": "*/20 20-22 * * *",
        "harvester": "gaps",
        "lane": "bulk",
        "parameters": {"max_units": 5000},
    },
    "people": {"cron": "45 4 * * *", "harvester": "people", "lane": "bulk"},
    "updates": {"cron": "10 * * * *", "harvester": "updates", "lane": "scheduled"},
    "upkeep": {"cron": "15 2 * * *", "harvester": "upkeep", "lane": "bulk"},
}
"""What is harvested by the clock unless the file says otherwise, as the tables that it could hold."""

_GENERAL = {"time_zone": "UTC", "parameters": {}, "enabled": True, "missed": "once"}
"""Fields that a new entry need not name."""

_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,39}")


def read_schedule(tables: object, place: str, *, is_on: bool) -> tuple[Entry, ...]:
    """Every entry, those that are switched off included; all are when not `is_on`. `place` is where the tables come from.

    Raises ConfigurationError, naming the table, the field and the reason. Whether a harvester of that name exists, and takes those
    parameters, is for `harvesters.check` to say.
    """
    if not isinstance(tables, Mapping) or not all(isinstance(each, Mapping) for each in tables.values()):
        raise ConfigurationError(
            f'schedule in {place}: must be "on", "off" or tables such as [schedule.covers]'
        )
    for name in tables:
        if not _NAME.fullmatch(name):
            raise ConfigurationError(
                f"[schedule.{name}] in {place}: the name must be 1 to 40 of a-z, 0-9 and -, and not begin with -"
            )
    names = [*DEFAULTS, *(name for name in tables if name not in DEFAULTS)]
    return tuple(_entry(name, tables.get(name, {}), place, is_on=is_on) for name in names)


def _entry(name: str, given: Mapping[str, Any], place: str, *, is_on: bool) -> Entry:
    built_in = dict(DEFAULTS.get(name, {}))
    if given.get("harvester", built_in.get("harvester")) != built_in.get("harvester"):
        # They are for another harvester.
        built_in.pop("parameters", None)
    written = {**_GENERAL, **built_in, **given}
    for field in written:
        if field not in _FIELDS:
            near = difflib.get_close_matches(field, _FIELDS, n=1)
            hint = f"; did you mean {near[0]}?" if near else "; there are " + ", ".join(_FIELDS)
            raise ConfigurationError(
                f"[schedule.{name}] {field} in {place}: is not a field of an entry{hint}"
            )
    values: dict[str, Any] = {}
    for field, parse in _FIELDS.items():
        if field not in written:
            raise ConfigurationError(f"[schedule.{name}] {field} in {place}: is missing")
        try:
            values[field] = parse(written[field])
        except ValueError as error:
            raise ConfigurationError(
                f"[schedule.{name}] {field} in {place}: {written[field]!r} {error}"
            ) from None
    return Entry(name=name, zone=values.pop("time_zone"), enabled=values.pop("enabled") and is_on, **values)


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError("must be a text in quotes")  # noqa: TRY004 - told as every other wrong value is
    return value


def _cron(value: object) -> Cron:
    return Cron.parse(_text(value))


def _zone(value: object) -> tzinfo:
    try:
        return ZoneInfo(_text(value))
    except (KeyError, OSError):
        raise ValueError("is not a time zone such as Europe/Lisbon") from None


def _lane(value: object) -> Lane:
    if value not in [Lane.SCHEDULED, Lane.BULK]:
        raise ValueError("must be scheduled or bulk: interactive is for people who wait")
    return Lane(str(value))


def _missed(value: object) -> Missed:
    if value not in list(Missed):
        raise ValueError("must be once or skip")
    return Missed(str(value))


def _switch(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError("must be true or false, without quotes")  # noqa: TRY004 - as above
    return value


def _table(value: object) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise ValueError("must be a table such as {max_pages = 20}")  # noqa: TRY004 - as above
    return value


_FIELDS: Mapping[str, Callable[[object], Any]] = {
    "cron": _cron,
    "time_zone": _zone,
    "harvester": _text,
    "parameters": _table,
    "lane": _lane,
    "enabled": _switch,
    "missed": _missed,
}
