"""The dashboard's addresses: its pages, and what keeps them current."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from fastapi import APIRouter, Request, Response

from alexandria.dashboard import (
    catalogue,
    catalogue_reviews,
    catalogue_search,
    frame,
    live,
    overview,
    queues,
    run,
    runs,
    usage,
)
from alexandria.dashboard.views import Dashboard, Page
from alexandria.domain.errors import AlexandriaError, RecordNotFound

PAGES: tuple[Page[Any], ...] = (
    overview.PAGE,
    queues.PAGE,
    runs.PAGE,
    run.PAGE,
    catalogue.PAGE,
    catalogue_search.PAGE,
    catalogue_reviews.PAGE,
    usage.PAGE,
)
"""Every page; those that belong to no other one are what the navigation leads to, in this order."""

_BY_NAME: Mapping[str, Page[Any]] = {each.name: each for each in PAGES}

frame.set_navigation(
    [frame.Link(each.name, each.title, each.address) for each in PAGES if each.place is None]
)

router = APIRouter(include_in_schema=False)
router.include_router(frame.router)


def _dashboard(request: Request) -> Dashboard:
    dashboard: Dashboard = request.app.state.dashboard
    return dashboard


def _showing(page: Page[Any]) -> Callable[[Request], Awaitable[Response]]:
    place = page.place or page.name

    async def show(request: Request) -> Response:
        dashboard = _dashboard(request)
        try:
            asked = page.parse({**request.query_params, **request.path_params})
            drawn = await dashboard.see(page, asked)
        except AlexandriaError as error:
            return frame.draw_error(error, place=place)
        wish = asked.model_dump(mode="json", exclude_none=True)
        return frame.draw(
            page.template,
            place=place,
            title=str(drawn.values.get("title", page.title)),
            asked=asked,
            drawn=drawn,
            live={"page": page.name, **wish},
            needs_token=bool(dashboard.app.config.api_tokens),
        )

    return show


for _page in PAGES:
    router.add_api_route(_page.address, _showing(_page), methods=["GET"])


@router.get("/dashboard/live")
async def follow_page(request: Request) -> Response:
    """Server-sent events: which parts of `page` have changed; the other parameters are the page's own."""
    dashboard = _dashboard(request)
    page = _BY_NAME.get(request.query_params.get("page", ""))
    if page is None or not page.is_live:
        return frame.draw_error(RecordNotFound("dashboard", "No page that can be followed has that name"))
    try:
        asked = page.parse(dict(request.query_params))
    except AlexandriaError as error:
        return frame.draw_error(error)
    if dashboard.viewers >= live.MOST_VIEWERS:
        return Response(
            "Too many follow pages of this server already.\n",
            status_code=503,
            media_type="text/plain",
            headers={"Retry-After": "30"},
        )
    return live.EventStream(live.Following(dashboard, page, asked))


@router.get("/dashboard/{path:path}")
async def show_nothing(path: str) -> Response:
    """An address below /dashboard that leads nowhere, told to a person."""
    return frame.draw_error(RecordNotFound("dashboard", f"The dashboard has no page /dashboard/{path}"))
