"""What the documentation says is what the program does."""

import re
from pathlib import Path

import pytest
import typer

from alexandria import config
from alexandria.cli.main import cli
from alexandria.domain.alert_rules import EVERY_KIND

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text("utf-8")


@pytest.mark.parametrize("setting", config.SETTINGS, ids=lambda each: each.name)
def test_every_setting_is_in_the_readme_with_its_meaning(setting: config.Setting) -> None:
    row = next((line for line in README.splitlines() if line.startswith(f"| `{setting.variable}` ")), "")
    assert setting.help in row
    if setting.default:
        assert f"`{setting.default}`" in row


def test_the_readme_names_no_setting_that_does_not_exist() -> None:
    named = set(re.findall(r"ALEXANDRIA_[A-Z_]+", README))
    assert named <= {setting.variable for setting in config.SETTINGS} | {config.FILE_VARIABLE}


def commands(group: typer.Typer, prefix: str = "") -> list[str]:
    own = [
        f"{prefix}{each.name or each.callback.__name__}"
        for each in group.registered_commands
        if each.callback
    ]
    below = [
        name
        for each in group.registered_groups
        if each.typer_instance
        for name in commands(each.typer_instance, f"{prefix}{each.name} ")
    ]
    return own + below


@pytest.mark.parametrize("command", commands(cli))
def test_every_command_explains_itself_with_an_example(command: str) -> None:
    found = [
        each.callback
        for group in (cli, *(sub.typer_instance for sub in cli.registered_groups if sub.typer_instance))
        for each in group.registered_commands
        if each.callback and (each.name or each.callback.__name__) == command.rpartition(" ")[2]
    ]
    assert any(f"alexandria {command}" in (callback.__doc__ or "") for callback in found)


@pytest.mark.parametrize(
    "page", sorted(ROOT.glob("*.md")) + sorted((ROOT / "docs").rglob("*.md")), ids=lambda each: each.name
)
def test_every_link_between_documents_leads_somewhere(page: Path) -> None:
    targets = re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text("utf-8"))
    assert [target for target in targets if not (page.parent / target).exists()] == []


def test_every_kind_of_alert_is_in_its_table_as_the_rules_have_it() -> None:
    page = (ROOT / "docs" / "alerts.md").read_text("utf-8")
    rows = [line for line in page.splitlines() if re.match(r"\| `\w+` \|", line)]
    told = [f"| `{each.kind}` | {each.severity} | {each.raised} | {each.cleared} |" for each in EVERY_KIND]
    assert rows == told
