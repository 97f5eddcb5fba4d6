"""`broker audit verify`."""

import json
from typing import Any

import pytest
from sqlalchemy import text

from app.store import audit
from app.store.postgresql.database import Database
from tests.cli.conftest import Cli


def verify(cli: Cli, *arguments: str) -> tuple[int, Any]:
    """Run `broker audit verify --json`, and return its exit status and what it printed."""
    finished = cli("audit", "verify", "--json", *arguments)
    return finished.status, json.loads(finished.out)


@pytest.fixture
async def _written(database: Database) -> None:
    for tenant in ("one", "one", "one", "two"):
        async with database.transaction() as transaction:
            await audit.record(transaction, "a", tenant=tenant, actor="operator")


async def tamper(database: Database, statement: str) -> None:
    async with database.transaction() as transaction:
        await transaction.execute(text("SET LOCAL session_replication_role = replica"))
        await transaction.execute(text(statement))


@pytest.mark.usefixtures("_written")
async def test_an_intact_audit_is_counted_and_its_heads_can_be_noted(cli: Cli) -> None:
    finished = cli("audit", "verify")
    assert finished.status == 0
    one, two = finished.out.splitlines()
    assert one.startswith("one: intact, 3 events, head one:3:")
    assert two.startswith("two: intact, 1 events, head two:1:")
    intact = {"removed": 0, "fault": None, "fault_position": None}
    assert verify(cli) == (
        0,
        {
            "intact": True,
            "chains": [
                {"tenant": "one", "events": 3, "head": one.split()[-1], **intact},
                {"tenant": "two", "events": 1, "head": two.split()[-1], **intact},
            ],
        },
    )
    assert verify(cli, "--expect", one.split()[-1], "--expect", two.split()[-1])[0] == 0
    assert cli("audit", "verify", "--tenant", "two").out == f"{two}\n"


@pytest.mark.usefixtures("_written")
async def test_the_first_bad_position_is_named(cli: Cli, database: Database) -> None:
    await tamper(database, "UPDATE audit_events SET actor = 'another' WHERE id = 2")
    finished = cli("audit", "verify")
    assert finished.status == 1
    one, two = finished.out.splitlines()
    assert one == "one: BROKEN at position 2: the event was changed"
    assert two.startswith("two: intact")
    status, shown = verify(cli, "--tenant", "one")
    assert (status, shown["intact"]) == (1, False)
    [chain] = shown["chains"]
    assert (chain["events"], chain["fault"], chain["fault_position"]) == (1, "the event was changed", 2)
    assert verify(cli, "--tenant", "two")[0] == 0


@pytest.mark.usefixtures("_written")
async def test_a_chain_that_is_shorter_than_a_noted_head_is_broken(cli: Cli, database: Database) -> None:
    head = verify(cli, "--tenant", "two")[1]["chains"][0]["head"]
    for table in ("audit_events", "audit_chain", "audit_heads"):
        await tamper(database, f"DELETE FROM {table} WHERE tenant = 'two'")
    assert verify(cli)[0] == 0
    finished = cli("audit", "verify", "--expect", head)
    assert finished.status == 1
    assert "two: BROKEN at position 1: the chain was cut off; it went to 1 at least" in finished.out


def test_an_empty_audit_is_intact_but_a_tenant_without_events_is_reported(cli: Cli) -> None:
    assert verify(cli) == (0, {"intact": True, "chains": []})
    assert cli("audit", "verify").out == "there is no audit yet\n"
    finished = cli("audit", "verify", "--tenant", "mistyped")
    assert finished.status == 1
    assert finished.out == "mistyped: BROKEN at position 1: there is no audit of this tenant\n"


def test_a_noted_head_that_cannot_be_read_is_refused(cli: Cli) -> None:
    finished = cli("audit", "verify", "--expect", "one:3")
    assert (finished.status, finished.out) == (1, "")
    assert finished.err.startswith("broker: ")
    assert finished.err.count("\n") == 1
