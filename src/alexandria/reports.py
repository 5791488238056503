"""The report of a run: what was asked for, what it brought against what was expected, and what failed."""

from datetime import datetime

from alexandria.domain.run_reports import MOST_LISTED, FailedIsbn, RunReport
from alexandria.harvest import get_run
from alexandria.stores.harvests import HarvestStore
from alexandria.stores.postgres import Database
from alexandria.stores.run_reports import RunReportStore


async def read_report(
    database: Database, run_id: str, *, now: datetime, lists_all: bool = False
) -> RunReport:
    """A run's report as of `now`; it names the items that failed, or with `lists_all` all, up to a thousand.

    Raises InvalidInput for an unknown run.
    """
    async with database.transaction() as connection:
        store = RunReportStore(connection)
        await store.take_snapshot()
        run = await get_run(connection, run_id)
        targets = await store.list_target_figures(run_id)
        isbns = await store.count_isbns(run_id)
        failed_isbns = await HarvestStore(connection).list_failed_isbns(run_id, limit=MOST_LISTED)
        items = await store.list_items(run_id, only_failed=not lists_all)
    return RunReport(
        run=run.id,
        what=run.target,
        kind=run.kind,
        lane=run.lane,
        parameters=run.parameters,
        state=run.state,
        pause_cause=run.pause_cause,
        pause_reason=run.pause_reason,
        held=run.held,
        resumes_at=run.resumes_at,
        created_at=run.created_at,
        finished_at=run.finished_at,
        reported_at=now,
        targets=targets,
        isbns=isbns,
        failed_isbns=[FailedIsbn(isbn, reason) for isbn, reason in failed_isbns],
        lists="all" if lists_all else "failed",
        items=items,
        items_in_all=sum(each.items if lists_all else each.failed for each in targets),
    )
