"""A database that goes away and comes back, and one that is damaged and restored: as the operations pages have it."""

import time
from collections.abc import Callable
from functools import partial

from app.demo.broker import Broker
from app.demo.exchange import open_client
from app.demo.expectations import Unexpected, expect, expect_that
from app.demo.linking import Linked
from app.demo.printing import Printer
from app.demo.queries import accounts_query
from containers.stack import REPLICAS, Stack

_DUMP = "/tmp/broker.dump"  # noqa: S108 - in the container, in memory
_AS_BROKER = "--username=broker"
_LONGEST_WAIT = 60.0


def lose_database(printer: Printer, stack: Stack, broker: Broker, linked: Linked) -> None:
    """Stop PostgreSQL, see what services and browsers are told, and start it again."""
    with printer.step("Stop the database, and start it again: no replica is restarted") as step:
        started = [stack.inspect(replica)["State"]["StartedAt"] for replica in REPLICAS]
        step.sent("docker compose stop postgres")
        stack.compose("stop", "postgres")
        for replica in REPLICAS:
            _wait_until(partial(_is_unready, stack, replica), f"that {replica} says it is not ready")
        # It looks each second; until then the replicas themselves say that they cannot.
        _wait_until(
            lambda: "x-request-id" not in broker.client.get("/v1/connections").headers, "that the gateway notices"
        )
        refused = broker.client.get("/v1/connections")
        expect(503, refused.status_code, what="the status meanwhile")
        expect("broker_unavailable", refused.json()["code"], what="the code meanwhile")
        expect_that("retry-after" in refused.headers, expected="Retry-After", came="none")
        query = broker.client.post(f"/v1/connections/{linked.connection_id}/graphql", json={"query": "{ user { id } }"})
        expect("BROKER_UNAVAILABLE", query.json()["errors"][0]["extensions"]["code"], what="the code of a query")
        page = open_client(stack.public_url, transport=broker.transport).get("/callback")
        expect((503, "Please try again in a moment."), (page.status_code, page.text), what="what a browser is told")
        step.note("services are told 503, a code and when to try again; browsers, to try again")
        step.sent("docker compose start postgres")
        stack.compose("up", "--detach", "--wait", "--no-deps", "postgres")
        for replica in REPLICAS:
            stack.wait_until_ready(replica)
        _require_answer(broker, linked)
        expect(
            started, [stack.inspect(replica)["State"]["StartedAt"] for replica in REPLICAS], what="the replicas' starts"
        )
        step.came("all goes on by itself")


def restore_database(printer: Printer, stack: Stack, broker: Broker, linked: Linked) -> None:
    """Back the database up, damage it, and bring it back under its name."""
    with printer.step("Back the database up, lose a table of it, and restore it") as step:
        stack.execute("postgres", "sh", "-c", f"pg_dump {_AS_BROKER} --format=custom broker > {_DUMP}")
        stack.execute("postgres", "psql", _AS_BROKER, "broker", "-c", "DROP TABLE tokens")
        stack.compose("stop", *REPLICAS)
        try:
            examined = stack.compose("run", "--rm", "--no-deps", REPLICAS[0], "broker", "doctor")
        except Unexpected as found:
            examined = str(found)
        expect_that("tables were lost: tokens" in examined, expected="that doctor names the table", came=examined)
        stack.execute("postgres", "createdb", _AS_BROKER, "restored")
        stack.execute(
            *("postgres", "pg_restore", _AS_BROKER, "--dbname=restored", "--no-owner", "--exit-on-error", _DUMP)
        )
        stack.execute(
            *("postgres", "psql", _AS_BROKER, "postgres"),
            *("-c", "ALTER DATABASE broker RENAME TO damaged", "-c", "ALTER DATABASE restored RENAME TO broker"),
        )
        stack.compose("run", "--rm", "migrate")
        stack.compose("run", "--rm", "--no-deps", REPLICAS[0], "broker", "doctor")
        verified = stack.compose("run", "--rm", "--no-deps", REPLICAS[0], "broker", "audit", "verify")
        expect_that("intact" in verified, expected="an intact audit", came=verified)
        stack.compose("up", "--detach", "--wait", "--no-deps", *REPLICAS)
        for replica in REPLICAS:
            stack.wait_until_ready(replica)
        _require_answer(broker, linked)
        stack.execute("postgres", "dropdb", _AS_BROKER, "damaged")
        step.came("the audit is intact, and the connection answers")


def _require_answer(broker: Broker, linked: Linked) -> None:
    # The gateway looks for readiness each second.
    _wait_until(
        lambda: broker.query_unseen(linked.connection_id, accounts_query()).status_code == 200,
        "that a query is answered again",
    )


def _is_unready(stack: Stack, replica: str) -> bool:
    return not stack.is_ready(replica)


def _wait_until(holds: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + _LONGEST_WAIT
    while not holds():
        if time.monotonic() > deadline:
            raise Unexpected(what, f"nothing of it within {_LONGEST_WAIT:g} s")
        time.sleep(0.5)
