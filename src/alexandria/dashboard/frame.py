"""What every page of the dashboard stands in: templates, headers, navigation, error pages and the files that pages load.

It works without JavaScript (a page then reloads itself) and asks nobody but this server: the Content-Security-Policy allows nothing
else. With JavaScript, `static/dashboard.js` follows `/dashboard/live` and exchanges what has changed.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from importlib import resources

import structlog
from fastapi import APIRouter, Request, Response
from jinja2 import Environment, PackageLoader, StrictUndefined

from alexandria import __version__
from alexandria.domain.errors import AlexandriaError, InvalidInput, RecordNotFound, StoreUnavailable

log = structlog.get_logger()

router = APIRouter(include_in_schema=False)

POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self';"
    " base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
"""What a page may load: this server's own files and pictures, no inline script or style (W3C CSP Level 3)."""

_HEADERS = {"Content-Security-Policy": POLICY, "Cache-Control": "no-store"}


# Templates


def _number(value: float | None) -> str:
    """With thousands apart; fractions with at most two digits; a dash for what is unknown."""
    if value is None:
        return "–"
    return f"{value:,}" if isinstance(value, int) else f"{round(value, 2):,.10g}"


def _moment(value: datetime) -> str:
    return f"{value.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def _span(seconds: float) -> str:
    """A span in the two largest of its units."""
    whole = timedelta(seconds=round(seconds))
    hours, rest = divmod(whole.seconds, 3600)
    minutes, left = divmod(rest, 60)
    parts = [(whole.days, "d"), (hours, "h"), (minutes, "min"), (left, "s")]
    first = next((n for n, (count, _) in enumerate(parts) if count), 3)
    return " ".join(f"{count} {unit}" for count, unit in parts[first : first + 2] if count) or "0 s"


_templates = Environment(
    loader=PackageLoader("alexandria.dashboard"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_templates.filters.update(number=_number, moment=_moment, span=_span)
_templates.globals["version"] = __version__


@dataclass(frozen=True)
class Link:
    """A place of the navigation."""

    name: str
    title: str
    address: str


_links: list[Link] = []


def set_navigation(links: Sequence[Link]) -> None:
    """What the navigation of every page leads to."""
    _links[:] = links


_templates.globals["links"] = _links


def render(template: str, **values: object) -> str:
    """A template's text."""
    return _templates.get_template(template).render(values).strip()


def draw(template: str, *, place: str, title: str, status_code: int = 200, **values: object) -> Response:
    """A page that extends `layout.html`; `place` is the link of the navigation that it belongs to."""
    body = render(template, place=place, title=title, **values)
    return Response(body, status_code=status_code, media_type="text/html", headers=_HEADERS)


# Error pages


def draw_error(error: AlexandriaError, *, place: str = "") -> Response:
    """A page that says what is the case and what to do."""
    match error:
        case InvalidInput():
            status, title = HTTPStatus.UNPROCESSABLE_ENTITY, "That can't be shown"
            detail = f"In the address, {error.field} {error.reason}."
        case RecordNotFound():
            status, title, detail = HTTPStatus.NOT_FOUND, "There is no such thing", f"{error.reason}."
        case StoreUnavailable():
            log.warning("dashboard.unavailable", error=str(error))
            return draw(
                "unavailable.html", place=place, title="The database does not answer", status_code=503
            )
        case _:
            raise error
    return draw("error.html", place=place, title=title, status_code=status, detail=detail)


# Files


@dataclass(frozen=True)
class _StaticFile:
    body: bytes
    media_type: str
    tag: str


def _load_static() -> Mapping[str, _StaticFile]:
    kinds = {"css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}
    found = {}
    static = resources.files("alexandria.dashboard").joinpath("static")
    for file in (*static.iterdir(), *static.joinpath("vendor").iterdir()):
        kind = kinds.get(file.name.rpartition(".")[2])
        if kind:
            body = file.read_bytes()
            found[file.name] = _StaticFile(body, kind, f'"{hashlib.sha256(body).hexdigest()[:16]}"')
    return found


# The few files are read once: nothing a client sends is ever used as a path.
_STATIC = _load_static()


@router.get("/dashboard/static/{name}")
async def show_static(request: Request, name: str) -> Response:
    """A style sheet, script or icon of the pages' own."""
    file = _STATIC.get(name)
    if file is None:
        return Response("There is no such file.\n", status_code=404, media_type="text/plain")
    headers = {"ETag": file.tag, "Cache-Control": "no-cache"}
    if request.headers.get("if-none-match") == file.tag:
        return Response(status_code=304, headers=headers)
    return Response(file.body, media_type=file.media_type, headers=headers)
