"""A run's report as Markdown (CommonMark, with the tables of GitHub Flavored Markdown)."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from alexandria.domain.run_reports import RunReport

_ESCAPED = str.maketrans({each: f"\\{each}" for each in "\\`*_[]<>|#&~"})


def as_markdown(report: RunReport) -> str:
    """The whole report; whatever names and reasons hold, they stay text."""
    sections = [
        [f"# Run {report.run}: {_text(report.what)}"],
        _summary(report),
        ["## What was asked for", "", *_targets(report)],
    ]
    if report.isbns:
        sections.append(["## ISBNs", "", *_table(("outcome", "ISBNs"), report.isbns.items())])
    if report.failed_isbns:
        lines = [f"* {each.isbn}: {_text(each.reason)}" for each in report.failed_isbns]
        sections.append(["## ISBNs that failed", "", *lines, *_rest(report.failed_isbns_left_out)])
    if report.items or report.lists == "failed":
        sections.append(_items(report))
    return "\n\n".join("\n".join(lines) for lines in sections) + "\n"


def _summary(report: RunReport) -> list[str]:
    state = report.state
    if report.pause_reason:
        state += f" ({report.pause_cause or 'unknown cause'}): {_text(report.pause_reason)}"
    if report.resumes_at:
        state += f", goes on at {_moment(report.resumes_at)}"
    if report.held:
        state += f"; {_text(report.held)}"
    ended = report.sum("done") + report.sum("empty") + report.sum("failed")
    parameters = "; ".join(f"{name} {_short(value)}" for name, value in sorted(report.parameters.items()))
    return _table(
        ("what", "value"),
        [
            ("state", state),
            ("parameters", _text(parameters)),
            ("lane", report.lane),
            ("started", _moment(report.created_at)),
            ("ended", _moment(report.finished_at) if report.finished_at else "–"),
            ("reported", _moment(report.reported_at)),
            ("items ended", f"{ended:,} of {report.sum('items'):,}, {report.sum('failed'):,} failed"),
            ("units spent", f"{report.units:,}, expected {report.units_expected:,.0f}"),
            ("editions found", report.sum("editions_found")),
            ("new editions", f"{report.sum('editions_new'):,}, expected {report.editions_expected:,.0f}"),
            (
                "new editions per unit",
                f"{_rate(report.editions_per_unit)}, expected {_rate(report.editions_per_unit_expected)}",
            ),
            ("new works", report.sum("works_new")),
            ("covers wanted", report.sum("covers_wanted")),
        ],
    )


def _targets(report: RunReport) -> list[str]:
    columns = (
        "target",
        "items",
        "done",
        "empty",
        "failed",
        "open",
        "units",
        "expected",
        "editions",
        "new",
        "expected",
    )
    return _table(
        columns,
        [
            (
                each.target,
                each.items,
                each.done,
                each.empty,
                each.failed,
                each.open,
                each.units,
                round(each.units_expected),
                each.editions_found,
                each.editions_new,
                round(each.editions_expected),
            )
            for each in report.targets
        ],
    )


def _items(report: RunReport) -> list[str]:
    if report.lists == "failed" and not report.items:
        return ["## Items that failed", "", "None."]
    title = "## Items that failed" if report.lists == "failed" else "## Items"
    columns = ("#", "target", "asked for", "state", "units", "editions", "new", "reason")
    rows = [
        (
            each.position,
            each.target,
            _text(each.name),
            each.state,
            each.units,
            each.editions_found,
            each.editions_new,
            _text(each.reason or ""),
        )
        for each in report.items
    ]
    return [title, "", *_table(columns, rows), *_rest(report.items_left_out)]


def _table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> list[str]:
    lines = [columns, ["---"] * len(columns), *rows]
    return ["| " + " | ".join(_cell(cell) for cell in line) + " |" for line in lines]


def _cell(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value)


def _rest(left_out: int) -> list[str]:
    return ["", f"And {left_out:,} more."] if left_out else []


def _text(value: str | None) -> str:
    """Any text on one line, with nothing in it that Markdown or HTML would read as its own."""
    return " ".join((value or "").split()).translate(_ESCAPED)


def _short(value: object) -> str:
    if isinstance(value, list) and len(value) > 3:
        return f"{value[0]} and {len(value) - 1:,} more"
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _moment(value: datetime) -> str:
    return f"{value.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def _rate(value: float | None) -> str:
    return "–" if value is None else f"{value:,.2f}"
