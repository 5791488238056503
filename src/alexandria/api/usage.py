"""What was charged, by whom and when: sums of hours and days, and the ledger itself. Costs no unit."""

from datetime import date
from typing import Annotated, Literal

from fastapi import APIRouter, Query

from alexandria.api import shapes
from alexandria.api.context import Responses, TheApp
from alexandria.app import account_of
from alexandria.domain.quota_usage import MOST_DAYS, By, LedgerKind, Span, total
from alexandria.providers.isbndb import PROVIDER

router = APIRouter(tags=["quota"])

Day = Annotated[date | None, Query(description="A day of the provider, YYYY-MM-DD.")]
Provider = Annotated[str, Query(max_length=64, description="Whose units.")]

_UNCONFIGURED: Responses = {503: {"description": "No key is set, or the database does not answer."}}


@router.get("/api/quota/usage", summary="What was charged?", responses=_UNCONFIGURED)
async def quota_usage(
    app: TheApp,
    day: Day = None,
    days: Annotated[
        int | None, Query(ge=1, le=MOST_DAYS, description="The last so many days, today included.")
    ] = None,
    by: Annotated[
        By | None,
        Query(description="A line for each of these; `hour` for one day and `day` for several if left out."),
    ] = None,
    provider: Provider = PROVIDER,
) -> shapes.UsageAnswer:
    """Units and requests of one day, today if left out, or of the last days, by hour, day, lane or consumer."""
    account, policy = account_of(app.config, provider)
    today = (await app.quota.status(account, policy)).day
    span = Span.of(day=day, days=days, today=today)
    by = by or span.usual_lines
    lines = await app.quota_reports.list_usage(account, span, by)
    return shapes.UsageAnswer(
        provider=provider,
        first_day=span.first_day,
        last_day=span.last_day,
        by=by,
        total=shapes.UsageFigures.model_validate(total(lines)),
        lines=[shapes.UsageLine.model_validate(each) for each in lines],
    )


@router.get("/api/quota/ledger", summary="Every single charge", responses=_UNCONFIGURED)
async def quota_ledger(
    app: TheApp,
    day: Day = None,
    kind: Annotated[LedgerKind | None, Query(description="Only entries of this kind.")] = None,
    consumer: Annotated[
        str | None, Query(min_length=1, max_length=200, description="Only what this consumer reserved.")
    ] = None,
    after: Annotated[
        int | None,
        Query(ge=0, le=2**63 - 1, description="Go on after this entry: `next` of the part before."),
    ] = None,
    limit: Annotated[int, Query(ge=1, le=1000, description="How many to give at most.")] = 100,
    order: Annotated[Literal["newest", "oldest"], Query(description="Which come first.")] = "newest",
    provider: Provider = PROVIDER,
) -> shapes.LedgerAnswer:
    """Entries of the ledger, the newest first, with the lane, the consumer and the job of their reservation."""
    account, _ = account_of(app.config, provider)
    entries = await app.quota_reports.list_entries(
        account,
        limit=limit + 1,
        day=day,
        kind=kind,
        consumer=consumer,
        after=after,
        oldest_first=order == "oldest",
    )
    return shapes.LedgerAnswer(
        provider=provider,
        entries=[shapes.LedgerEntry.model_validate(each) for each in entries[:limit]],
        next=entries[limit - 1].entry if len(entries) > limit else None,
        rolled_up_to=await app.quota_reports.find_last_rolled_up_day(account),
    )
