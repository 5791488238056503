"""The harvesters over HTTP."""

from typing import Annotated, Any

from fastapi import APIRouter, Body, Response
from fastapi.responses import JSONResponse

from alexandria import planning
from alexandria.api import enriching_shapes as shapes
from alexandria.api.context import TheApp
from alexandria.api.fulfilling import Result, answer_with, answers, fresh_since, fulfil, show
from alexandria.api.health import quota_status, read_status
from alexandria.app import App
from alexandria.backpressure import measure
from alexandria.covers import hasten_covers
from alexandria.domain.errors import InvalidInput, QuotaDenied
from alexandria.domain.isbn import parse_each
from alexandria.domain.isbn_outcomes import IsbnOutcome
from alexandria.domain.plans import Plan
from alexandria.domain.quota import Lane
from alexandria.outlook import read_outlook
from alexandria.stores.postgres import in_transaction

router = APIRouter(tags=["harvests"])


@router.post(
    "/api/enrich/batch-direct",
    summary="Enrich editions by ISBN",
    response_model=shapes.BatchAnswer,
    responses=answers(shapes.BatchAnswer),
)
async def enrich_batch(
    app: TheApp, wanted: Annotated[shapes.Batch, Body()], response: Response
) -> shapes.BatchAnswer | JSONResponse:
    """Ask for up to 1,000 ISBNs: one unit each, less those that need not be asked. Up to 100 are done while you wait."""
    valid, invalid = parse_each(wanted.isbns)
    if not valid:
        raise InvalidInput(
            "isbns", wanted.isbns[0], f"holds no valid ISBN; the first: {next(iter(invalid.values()))}"
        )
    since = fresh_since(app, refresh=wanted.refresh)
    async with app.database.connection() as connection:
        plan = await planning.plan_isbns(connection, valid, fresh_since=since, anew=wanted.refresh)
    if wanted.dry_run:
        return await show(app, plan)
    result = await fulfil(
        app, plan, parameters={"isbns": len(valid), "source": wanted.source}, small=Lane.INTERACTIVE
    )
    errors = [*invalid.items(), *result.errors]
    count = result.outcomes.get
    found = count(IsbnOutcome.FOUND, 0) + count(IsbnOutcome.ENRICHED, 0)
    rest = count(IsbnOutcome.NOT_FOUND, 0) + count(IsbnOutcome.SKIPPED_FRESH, 0)
    answer = shapes.BatchAnswer(
        requested=len(valid) + len(invalid),
        found=found,
        enriched=count(IsbnOutcome.ENRICHED, 0),
        failed=len(errors),
        not_found=count(IsbnOutcome.NOT_FOUND, 0),
        skipped_fresh=count(IsbnOutcome.SKIPPED_FRESH, 0),
        pending=len(valid) - found - rest - len(result.errors),
        covers_queued=result.progress.covers_wanted,
        errors=[shapes.FailedIsbn(isbn=isbn, error=error) for isbn, error in errors],
        sources={source: what for item in result.items for source, what in item.sources.items()},
        **result.work,
    )
    return answer_with(app, answer, result, response)


@router.post(
    "/api/authors/enrich-bibliography",
    summary="Enrich one author's bibliography",
    response_model=shapes.BibliographyAnswer,
    responses=answers(shapes.BibliographyAnswer),
)
async def enrich_bibliography(
    app: TheApp, wanted: Annotated[shapes.Bibliography, Body()], response: Response
) -> shapes.BibliographyAnswer | JSONResponse:
    """Ask for an author's books, 100 for a unit. The author is given by name, or by key when several bear the name."""
    terms: dict[str, Any] = {
        "max_pages": wanted.max_pages,
        "fresh_since": fresh_since(app, refresh=not wanted.skip_existing),
        "now": app.clock.now(),
        "whole": not wanted.skip_existing,
    }
    async with app.database.connection() as connection:
        if wanted.author_key is not None:
            plan = await planning.plan_author(connection, wanted.author_key, **terms)
        else:
            plan = await planning.plan_authors(connection, [wanted.author_name or ""], **terms)
    if wanted.dry_run:
        return await show(app, plan)
    author = plan.lines[0].name
    result = await fulfil(app, plan, parameters={"author": author}, small=Lane.INTERACTIVE)
    progress = result.progress
    answer = shapes.BibliographyAnswer(
        author=author,
        books_found=progress.editions_found,
        already_existed=progress.editions_found - progress.editions_new,
        enriched=progress.editions_new,
        covers_queued=progress.covers_wanted,
        failed=progress.failed,
        pages_fetched=sum(each.next_page - 1 for each in result.items),
        quota_exhausted=isinstance(result.stopped_by, QuotaDenied),
        errors=result.failed_targets,
        **result.work,
    )
    return answer_with(app, answer, result, response)


@router.post(
    "/api/books/enrich-new-releases",
    summary="Enrich what was published in some months",
    response_model=shapes.NewReleasesAnswer,
    responses=answers(shapes.NewReleasesAnswer),
)
async def enrich_new_releases(
    app: TheApp, wanted: Annotated[shapes.NewReleases, Body()], response: Response
) -> shapes.NewReleasesAnswer | JSONResponse:
    """Ask for the books of some months, 100 for a unit: of all subjects, or of some."""
    last_month = wanted.end_month or wanted.start_month
    async with app.database.connection() as connection:
        plan = await planning.plan_new_releases(
            connection,
            wanted.start_month,
            last_month,
            subjects=wanted.subjects,
            today=app.clock.now(),
            max_pages=wanted.max_pages_per_month,
            fresh_since=fresh_since(app, refresh=not wanted.skip_existing),
        )
    if wanted.dry_run:
        return await show(app, plan)
    parameters: dict[str, object] = {"start_month": wanted.start_month, "end_month": last_month}
    if wanted.subjects:
        parameters["subjects"] = wanted.subjects
    result = await fulfil(app, plan, parameters=parameters, small=Lane.SCHEDULED)
    progress = result.progress
    answer = shapes.NewReleasesAnswer(
        start_month=wanted.start_month,
        end_month=last_month,
        months_processed=progress.done,
        total_books_found=progress.editions_found,
        already_existed=progress.editions_found - progress.editions_new,
        newly_enriched=progress.editions_new,
        covers_queued=progress.covers_wanted,
        failed=progress.failed,
        quota_exhausted=isinstance(result.stopped_by, QuotaDenied),
        errors=result.failed_targets,
        **result.work,
    )
    return answer_with(app, answer, result, response)


@router.post(
    "/api/harvest/covers",
    summary="Ask for covers that are missing",
    response_model=shapes.CoversAnswer,
    responses=answers(shapes.CoversAnswer),
)
async def harvest_covers(
    app: TheApp, response: Response, wanted: Annotated[shapes.CoversHarvest | None, Body()] = None
) -> shapes.CoversAnswer | JSONResponse:
    """Ask where the covers of editions are that have none, the newest editions first. Workers fetch what is found."""
    wanted = wanted or shapes.CoversHarvest()
    since, now = fresh_since(app, refresh=False), app.clock.now()
    async with app.database.connection() as connection:
        plan = await planning.plan_missing_covers(
            connection, max_units=wanted.batch_size, fresh_since=since, now=now
        )
    if wanted.dry_run:
        return await show(app, plan)
    result = await fulfil(app, plan, parameters={"covers": plan.units_expected}, small=Lane.SCHEDULED)
    count, progress = result.outcomes.get, result.progress
    found = count(IsbnOutcome.FOUND, 0) + count(IsbnOutcome.ENRICHED, 0)
    answer = shapes.CoversAnswer(
        queried=plan.units_expected,
        found_in_isbndb=found,
        editions_updated=count(IsbnOutcome.ENRICHED, 0),
        covers_queued=progress.covers_wanted,
        no_cover_url=max(0, found - progress.covers_wanted),
        pending=plan.units_expected - sum(result.outcomes.values()),
        errors=[shapes.FailedIsbn(isbn=isbn, error=error) for isbn, error in result.errors],
        **result.work,
    )
    return answer_with(app, answer, result, response)


@router.post("/api/covers/queue", summary="Wish for covers", responses=answers(shapes.CoverQueueAnswer))
async def queue_covers(
    app: TheApp, wanted: Annotated[shapes.CoverQueue, Body()], response: Response
) -> shapes.CoverQueueAnswer:
    """Have the covers of up to 100 books fetched next. Where one is to be had is asked for if nobody knows: a unit each."""
    valid, invalid = parse_each([each.isbn for each in wanted.books])
    began = app.clock.monotonic()
    now, marks = app.clock.now(), app.config.marks
    await measure(app.database, marks, now=now)
    known = await in_transaction(
        app.database, lambda connection: hasten_covers(connection, valid, marks=marks, now=now)
    )
    errors = invalid
    work: dict[str, Any] = {
        "run": None,
        "state": "done",
        "units_used": 0,
        "api_calls": 0,
        "duration_ms": 0,
    }
    result = None
    if known.unknown:
        async with app.database.connection() as connection:
            plan = await planning.plan_covers(
                connection, known.unknown, fresh_since=fresh_since(app, refresh=False)
            )
        result = await fulfil(app, plan, parameters={"covers": len(known.unknown)}, small=Lane.INTERACTIVE)
        work = result.work
        errors |= dict(result.errors)
    answer = shapes.CoverQueueAnswer(
        queued=len(known.queued),
        stored=len(known.stored),
        asked=len(known.unknown) - (len(result.errors) if result else 0),
        failed=len(errors),
        errors=[shapes.FailedIsbn(isbn=isbn, error=error) for isbn, error in errors.items()],
        **{
            **work,
            "duration_ms": round(1000 * (app.clock.monotonic() - began)),
            "quota": await quota_status(app),
        },
    )
    if result is None:
        return answer
    return answer_with(app, answer, result, response)


@router.post(
    "/api/harvest/updates",
    summary="Ask again for what has changed",
    response_model=shapes.HarvestAnswer,
    responses=answers(shapes.HarvestAnswer),
)
async def harvest_updates(
    app: TheApp, response: Response, wanted: Annotated[shapes.UnitsAtMost | None, Body()] = None
) -> shapes.HarvestAnswer | JSONResponse:
    """Read the provider's update feed, for nothing, and ask again for those editions of ours that changed, for a unit each."""
    wanted = wanted or shapes.UnitsAtMost()
    async with app.database.connection() as connection:
        plan = await planning.plan_updates(connection, now=app.clock.now())
    return await _harvest(app, plan, wanted, response)


@router.post(
    "/api/harvest/gaps",
    summary="Fill gaps",
    response_model=shapes.HarvestAnswer,
    responses=answers(shapes.HarvestAnswer),
)
async def harvest_gaps(
    app: TheApp, response: Response, wanted: Annotated[shapes.UnitsAtMost | None, Body()] = None
) -> shapes.HarvestAnswer | JSONResponse:
    """Ask for pages of authors of whom the provider has more than we read, then for editions that lack fields."""
    wanted = wanted or shapes.UnitsAtMost()
    async with app.database.connection() as connection:
        plan = await planning.plan_gaps(
            connection,
            max_units=wanted.max_units,
            max_pages=planning.MOST_PAGES,
            fresh_since=fresh_since(app, refresh=False),
            now=app.clock.now(),
        )
    return await _harvest(app, plan, wanted, response)


@router.post(
    "/api/harvest/people",
    summary="Ask for facts about authors",
    response_model=shapes.HarvestAnswer,
    responses=answers(shapes.HarvestAnswer),
)
async def harvest_people(
    app: TheApp, response: Response, wanted: Annotated[shapes.PeopleHarvest | None, Body()] = None
) -> shapes.HarvestAnswer:
    """Ask Open Library and Wikidata for years, names and identifiers of authors; costs no unit."""
    most = (wanted or shapes.PeopleHarvest()).most
    async with app.database.connection() as connection:
        plan = await planning.plan_people(connection, most=most, fresh_since=fresh_since(app, refresh=False))
    return _harvested(
        await fulfil(app, plan, parameters={"people": most}, small=Lane.SCHEDULED, most=most), app, response
    )


async def _harvest(
    app: App, plan: Plan, wanted: shapes.UnitsAtMost, response: Response
) -> shapes.HarvestAnswer | JSONResponse:
    if wanted.dry_run:
        return await show(app, plan)
    result = await fulfil(
        app, plan, parameters={"max_units": wanted.max_units}, small=Lane.SCHEDULED, most=wanted.max_units
    )
    return _harvested(result, app, response)


def _harvested(result: Result, app: App, response: Response) -> shapes.HarvestAnswer:
    progress = result.progress
    answer = shapes.HarvestAnswer(
        targets=progress.items,
        done=progress.done,
        failed=progress.failed,
        editions_found=progress.editions_found,
        editions_new=progress.editions_new,
        covers_queued=progress.covers_wanted,
        errors=result.failed_targets,
        **result.work,
    )
    return answer_with(app, answer, result, response)


@router.get("/api/plan", summary="What is going to be asked?")
async def show_outlook(app: TheApp) -> shapes.OutlookAnswer:
    """What all open runs still need, in the order in which it is asked, what it should bring and when it is through. Costs no unit.

    A single harvest shows its plan beforehand with `dry_run`.
    """
    status, now = await read_status(app), app.clock.now()
    async with app.database.connection() as connection:
        outlook = await read_outlook(connection, now=now)
    return shapes.OutlookAnswer.of(outlook, status, now)
