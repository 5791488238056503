"""Dead letters by command."""

import json
from pathlib import Path

from alexandria.stores.postgres import Database
from dashboard.sites import bury
from end_to_end.processes import ran


async def test_dead_letters_are_listed_tried_again_and_discarded(
    database: Database, database_url: str, tmp_path: Path
) -> None:
    environment = {
        "ALEXANDRIA_DATA_DIR": str(tmp_path),
        "ALEXANDRIA_DATABASE_URL": database_url,
        "ALEXANDRIA_LOG_LEVEL": "error",
    }
    async with database.transaction() as connection:
        cover, item = await bury(connection, "fetch_cover"), await bury(connection, "harvest_item")
    code, out, _ = await ran(environment, "dead-letters", "list", "--json")
    assert code == 0
    assert [(each["id"], each["kind"], each["attempts"]) for each in json.loads(out)] == [
        (item, "harvest_item", 5),
        (cover, "fetch_cover", 5),
    ]
    code, out, _ = await ran(environment, "dead-letters", "retry", str(cover))
    assert (code, out) == (0, f"fetch_cover {cover} is in the queue again\n")
    code, out, _ = await ran(environment, "dead-letters", "discard", str(item))
    assert (code, out) == (0, f"harvest_item {item} is discarded\n")
    code, out, err = await ran(environment, "dead-letters", str(item))
    assert (code, out) == (1, "")
    assert f"there is no dead letter {item}, or not any more" in err
