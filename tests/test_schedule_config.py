"""The schedule's tables: what is built in, what a file changes, what is refused."""

from pathlib import Path
from typing import Any

import pytest

from alexandria import config, harvesters
from alexandria.domain.errors import ConfigurationError
from alexandria.domain.quota import Lane
from alexandria.domain.schedule import Entry, Missed


def read(tmp_path: Path, toml: str, **environment: str) -> dict[str, Entry]:
    file = tmp_path / "alexandria.toml"
    file.write_text(toml)
    schedule = config.load({"ALEXANDRIA_CONFIG": str(file), **environment}).schedule
    harvesters.check(schedule)
    return {each.name: each for each in schedule}


def test_what_is_built_in_is_in_order_and_on() -> None:
    schedule = config.load({}).schedule
    harvesters.check(schedule)
    assert {each.name: each.cron.text for each in schedule if each.enabled} == {
        "covers": "*/5 * * * *",
        "gaps": "*/20 20-22 * * *",
        "people": "45 4 * * *",
        "updates": "10 * * * *",
        "new-releases": "30 3 * * *",
        "tiers": "*/20 1-5 * * *",
        "upkeep": "15 2 * * *",
    }


def test_a_table_changes_the_fields_that_it_names(tmp_path: Path) -> None:
    built_in = {each.name: each for each in config.load({}).schedule}
    schedule = read(
        tmp_path,
        'safe_limit = 500\n[schedule.new-releases]\ncron = "0 5 * * 1"\ntime_zone = "Europe/Lisbon"\n'
        "[schedule.upkeep]\nenabled = false\n",
    )
    changed, before = schedule["new-releases"], built_in["new-releases"]
    assert (changed.cron.text, str(changed.zone)) == ("0 5 * * 1", "Europe/Lisbon")
    assert (changed.harvester, changed.lane, changed.missed) == (before.harvester, before.lane, before.missed)
    assert not schedule["upkeep"].enabled
    assert schedule["tiers"] == built_in["tiers"]


def test_a_table_of_a_new_name_is_a_new_entry(tmp_path: Path) -> None:
    added = read(
        tmp_path,
        '[schedule.far-ahead]\ncron = "0 4 1 * *"\nharvester = "new-releases"\nlane = "bulk"\nmissed = "skip"\n'
        "parameters = {months_back = 0, months_ahead = 3}\n",
    )["far-ahead"]
    assert (added.lane, added.missed, added.enabled) == (Lane.BULK, Missed.SKIP, True)
    assert added.parameters == {"months_back": 0, "months_ahead": 3}


def test_another_harvester_does_not_inherit_the_parameters_of_the_former(tmp_path: Path) -> None:
    assert read(tmp_path, '[schedule.tiers]\nharvester = "upkeep"\n')["tiers"].parameters == {}


def test_it_can_be_off_altogether_with_its_tables_kept(tmp_path: Path) -> None:
    table = '[schedule.covers]\ncron = "*/9 * * * *"\n'
    schedule = read(tmp_path, table, ALEXANDRIA_SCHEDULE="off")
    assert schedule["covers"].cron.text == "*/9 * * * *"
    assert not any(each.enabled for each in schedule.values())
    assert not any(each.enabled for each in read(tmp_path, 'schedule = "off"\n').values())


def table(field: str, value: str) -> str:
    return f"[schedule.covers]\n{field} = {value}\n"


@pytest.mark.parametrize(
    ("toml", "told"),
    [
        (
            table("cron", '"61 * * * *"'),
            r"\[schedule.covers\] cron in .*: '61 .*' is no cron expression: bad minute",
        ),
        (table("cron", "5"), r"\[schedule.covers\] cron .*: 5 must be a text in quotes"),
        (table("cron", '"0 0 31 2,4 *"'), r"\[schedule.covers\] cron .* bad day-of-month"),
        (
            table("time_zone", '"Europe/Lisboa"'),
            r"\[schedule.covers\] time_zone .*: 'Europe/Lisboa' is not a time",
        ),
        (table("time_zone", '"../etc/passwd"'), r"\[schedule.covers\] time_zone"),
        (table("time_zone", '"Europe"'), r"\[schedule.covers\] time_zone"),
        (table("time_zone", '""'), r"\[schedule.covers\] time_zone"),
        (table("harvester", '"cover"'), r"\[schedule.covers\] harvester: 'cover' is not one of authors, "),
        (table("parameters", "{most = 0}"), r"\[schedule.covers\] parameters: .*>= 1.*most"),
        (table("parameters", '{most = "100"}'), r"\[schedule.covers\] parameters: .*int.*most"),
        (table("parameters", "{mots = 100}"), r"\[schedule.covers\] parameters: .*unknown field `mots`"),
        (table("parameters", "7"), r"\[schedule.covers\] parameters .*: 7 must be a table"),
        (
            table("lane", '"interactive"'),
            r"\[schedule.covers\] lane .*: 'interactive' must be scheduled or bulk",
        ),
        (table("lane", "[]"), r"\[schedule.covers\] lane"),
        (table("enabled", '"no"'), r"\[schedule.covers\] enabled .*: 'no' must be true or false"),
        (table("missed", '"twice"'), r"\[schedule.covers\] missed .*: 'twice' must be once or skip"),
        (table("crno", '"* * * * *"'), r"\[schedule.covers\] crno .*: is not a field.*did you mean cron\?"),
        (
            '[schedule.tiers]\nparameters = {tier = "top-7"}\n',
            r"\[schedule.tiers\] parameters: tier must be one",
        ),
        ("[schedule.tiers]\nparameters = {tier = []}\n", r"\[schedule.tiers\] parameters: tier must be one"),
        ("[schedule.tiers]\nparameters = {}\n", r"\[schedule.tiers\] parameters: .*missing.*tier"),
        ('[schedule.mine]\ncron = "* * * * *"\n', r"\[schedule.mine\] harvester .*: is missing"),
        ('[schedule."My own"]\n', r"\[schedule.My own\] in .*: the name must be"),
        ("schedule = false\n", 'schedule in .*: must be "on", "off" or tables'),
        ("[schedule]\ncovers = 7\n", 'schedule in .*: must be "on", "off" or tables'),
        ('schedule = "of"\n', "ALEXANDRIA_SCHEDULE .*: 'of' must be one of on, off"),
    ],
)
def test_what_is_wrong_is_refused_by_its_table_and_field(tmp_path: Path, toml: str, told: str) -> None:
    with pytest.raises(ConfigurationError, match=told) as refused:
        read(tmp_path, toml)
    assert "\n" not in str(refused.value)


def test_the_table_is_no_setting_to_be_shown(tmp_path: Path) -> None:
    file = tmp_path / "alexandria.toml"
    file.write_text(table("missed", '"once"'))
    shown: dict[str, Any] = {each.name: each.value for each in config.show({"ALEXANDRIA_CONFIG": str(file)})}
    assert shown["schedule"] == "on"
