"""`broker audit verify`."""

import asyncio
import json
from typing import Any

import pytest
import structlog
from pydantic import SecretStr
from sqlalchemy import text
from typer.testing import CliRunner, Result

from app.cli import command
from app.errors import InvalidRequest
from app.store import audit
from app.store.postgresql.database import Database


async def run(*arguments: str) -> Result:
    """Run the command in a thread, since it has an event loop of its own."""
    # A broker of an earlier test may still run in this process, and log to what is standard output meanwhile.
    with structlog.testing.capture_logs():
        return await asyncio.to_thread(lambda: CliRunner().invoke(command, ["audit", "verify", *arguments]))


async def run_json(*arguments: str) -> tuple[int, Any]:
    result = await run(*arguments, "--json")
    return result.exit_code, json.loads(result.stdout)


@pytest.fixture(autouse=True)
def _settings(database_url: SecretStr, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BROKER_DATABASE_URL", database_url.get_secret_value())


@pytest.fixture
async def _written(database: Database) -> None:
    for tenant in ("one", "one", "one", "two"):
        async with database.transaction() as transaction:
            await audit.record(transaction, tenant=tenant, actor="operator", action="a")


async def tamper(database: Database, statement: str) -> None:
    async with database.transaction() as transaction:
        await transaction.execute(text("SET LOCAL session_replication_role = replica"))
        await transaction.execute(text(statement))


@pytest.mark.usefixtures("_written")
async def test_an_intact_audit_is_counted_and_its_heads_can_be_noted() -> None:
    result = await run()
    assert result.exit_code == 0
    one, two = result.stdout.splitlines()
    assert one.startswith("one: intact, 3 events, head one:3:")
    assert two.startswith("two: intact, 1 events, head two:1:")
    assert await run_json() == (
        0,
        {
            "intact": True,
            "chains": [
                {
                    "tenant": "one",
                    "events": 3,
                    "head": one.split()[-1],
                    "removed": 0,
                    "fault": None,
                    "fault_position": None,
                },
                {
                    "tenant": "two",
                    "events": 1,
                    "head": two.split()[-1],
                    "removed": 0,
                    "fault": None,
                    "fault_position": None,
                },
            ],
        },
    )
    assert (await run("--expect", one.split()[-1], "--expect", two.split()[-1])).exit_code == 0
    assert (await run("--tenant", "two")).stdout == f"{two}\n"


@pytest.mark.usefixtures("_written")
async def test_the_first_bad_position_is_named(database: Database) -> None:
    await tamper(database, "UPDATE audit_events SET actor = 'somebody else' WHERE id = 2")
    result = await run()
    assert result.exit_code == 1
    assert result.stdout.splitlines()[0] == "one: BROKEN at position 2: the event was changed"
    assert result.stdout.splitlines()[1].startswith("two: intact")
    code, shown = await run_json("--tenant", "one")
    assert (code, shown["intact"]) == (1, False)
    [chain] = shown["chains"]
    assert (chain["events"], chain["fault"], chain["fault_position"]) == (1, "the event was changed", 2)
    assert (await run("--tenant", "two")).exit_code == 0


@pytest.mark.usefixtures("_written")
async def test_a_chain_that_is_shorter_than_was_noted_is_broken(database: Database) -> None:
    head = (await run_json("--tenant", "two"))[1]["chains"][0]["head"]
    for table in ("audit_events", "audit_chain", "audit_heads"):
        await tamper(database, f"DELETE FROM {table} WHERE tenant = 'two'")
    assert (await run()).exit_code == 0
    result = await run("--expect", head)
    assert result.exit_code == 1
    assert "two: BROKEN at position 1: the chain was cut off; it went to 1 at least" in result.stdout


async def test_no_audit_is_intact_but_a_tenant_without_one_is_told() -> None:
    assert await run_json() == (0, {"intact": True, "chains": []})
    assert (await run()).stdout == "there is no audit yet\n"
    result = await run("--tenant", "mistyped")
    assert result.exit_code == 1
    assert result.stdout == "mistyped: BROKEN at position 1: there is no audit of this tenant\n"


async def test_a_noted_head_that_cannot_be_read_is_refused() -> None:
    result = await run("--expect", "one:3")
    assert isinstance(result.exception, InvalidRequest)
