"""What /openapi.json and docs/api.md say is what the server does."""

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI

from alexandria.api.problems import KINDS
from alexandria.server import make_app
from alexandria.stores.postgres import Database

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "api.md").read_text("utf-8")
EXAMPLES = re.findall(r"^curl (?:.*\\\n)*.*$", PAGE, flags=re.MULTILINE)


@pytest.fixture(scope="module")
def app(make_config: Any) -> FastAPI:
    return make_app(make_config(), "postgresql://nobody-connects-to-this")


@pytest.fixture(scope="module")
def schema(app: FastAPI) -> dict[str, Any]:
    return app.openapi()


def routes(app: FastAPI) -> set[str]:
    """Every method and path that is answered, the dashboard's included."""
    found = set()
    for route in walk(app.router.routes):
        for method in (getattr(route, "methods", None) or set()) - {"HEAD"}:
            found.add(f"{method} {route.path}")
    return found


def walk(found: Any) -> Any:
    """The routes themselves, out of the routers that hold them."""
    for route in found:
        inner = getattr(getattr(route, "original_router", None), "routes", None)
        if inner is None:
            yield route
        else:
            yield from walk(inner)


@pytest.fixture
async def silence(database: Database) -> None:
    """The silence of the examples: the first one of a new database, whichever of them comes first."""
    async with database.connection() as connection:
        await connection.execute(
            "INSERT INTO alert_silences (kind, until, created_at) VALUES ('dead_letters', '2027-01-01', '2026-11-23')"
            " ON CONFLICT DO NOTHING"
        )


def test_every_route_is_documented_and_nothing_else(app: FastAPI) -> None:
    documented = set(re.findall(r"^### `([A-Z]+ \S+)`$", PAGE, flags=re.MULTILINE))
    assert len(routes(app)) > 15
    assert documented == routes(app)


def test_every_route_has_an_example_of_its_own() -> None:
    for section in re.split(r"^### ", PAGE, flags=re.MULTILINE)[1:]:
        heading = section.splitlines()[0]
        method, path = heading.strip("`").split()
        fixed = path.partition("{")[0]
        assert any(
            fixed in example and (f"-X {method}" in example) == (method != "GET")
            for example in re.findall(r"^curl (?:.*\\\n)*.*$", section, flags=re.MULTILINE)
        ), heading


@pytest.mark.parametrize("example", [each for each in EXAMPLES if "/dashboard/live" not in each])
async def test_every_example_can_be_typed_as_it_stands(
    client: Any, library: None, store_cover: Any, silence: None, example: str
) -> None:
    """But for the one whose answer goes on for as long as somebody listens: tests/dashboard follows it."""
    await store_cover("9780306406157")
    words = shlex.split(example.replace("\\\n", " "))[1:]
    options = {words[n]: words[n + 1] for n in range(len(words) - 1) if words[n] in {"-X", "-d"}}
    headers = dict(words[n + 1].split(": ", 1) for n in range(len(words) - 1) if words[n] == "-H")
    (address,) = [word for word in words if word.startswith("http")]
    path = address.removeprefix("http://127.0.0.1:8765")
    answer = await client.ask(options.get("-X", "GET"), path, data=options.get("-d"), headers=headers)
    # The run, the reservation and the dead letter of the examples do not exist here; everything else does.
    is_absent = "4f1a9c" in example or "dead-letters/4711" in example or "dashboard/nothing" in example
    expected = {404} if is_absent else {200, 201, 202}
    assert answer.status in expected, answer.body
    if answer.status == 404 and "/dashboard/" not in path:
        assert answer.json["type"].endswith(":not-found")


def test_every_type_of_problem_is_documented_with_its_status() -> None:
    rows = dict(re.findall(r"^\| `([a-z-]+)` \| (\d+) \|", PAGE, flags=re.MULTILINE))
    assert rows == {kind.name: str(kind.status.value) for kind in KINDS}


def operations(schema: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    return [
        (f"{method} {path}", operation)
        for path, methods in schema["paths"].items()
        for method, operation in methods.items()
    ]


def test_every_operation_is_described_and_typed(schema: dict[str, Any]) -> None:
    assert len(operations(schema)) == 48
    for name, operation in operations(schema):
        assert operation["summary"], name
        assert operation["description"], name
        assert operation["tags"], name
        for status, response in operation["responses"].items():
            kinds = response.get("content", {})
            if status.startswith(("4", "5")):
                assert kinds == {
                    "application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}
                }, name
            elif "application/json" in kinds:
                assert "$ref" in kinds["application/json"]["schema"], name
            else:
                assert "image/webp" in kinds or status == "304", name
        needs_token = not name.startswith("get") or name == "get /api/quota/reservations/{id}"
        assert ("security" in operation) == needs_token, name


def test_every_reference_leads_somewhere(schema: dict[str, Any]) -> None:
    text = str(schema)
    names = set(re.findall(r"#/components/schemas/(\w+)", text))
    assert names <= set(schema["components"]["schemas"])
    assert "HTTPValidationError" not in text


async def test_the_description_is_served(client: Any, schema: dict[str, Any]) -> None:
    served = (await client.get("/openapi.json")).json
    assert served["paths"].keys() == schema["paths"].keys()
    assert served["openapi"].startswith("3.1")
