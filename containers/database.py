"""Checks of a database outage, and of backup and restore as documented in docs/operations."""

from functools import partial

from app.demo.broker import Broker
from app.demo.exchange import open_client
from app.demo.expectations import Unexpected, expect, expect_that
from app.demo.login_steps import LinkedAccount
from app.demo.printing import Printer
from app.demo.queries import accounts_query
from containers.stack import REPLICAS, Stack
from containers.waiting import wait_until

_DUMP = "/tmp/broker.dump"  # noqa: S108 - in the container, on a tmpfs
_USER = "--username=broker"


def check_database_outage(printer: Printer, stack: Stack, broker: Broker, linked: LinkedAccount) -> None:
    """Stop and start PostgreSQL: requests get a 503 meanwhile, and the replicas recover without a restart."""
    with printer.step("Stop and start the database; no replica restarts") as step:
        started_at = _started_at(stack)
        step.sent("docker compose stop postgres")
        stack.compose("stop", "postgres")
        for replica in REPLICAS:
            wait_until(partial(_is_unready, stack, replica), f"{replica} becomes unready")
        # The gateway checks once a second; until then the replicas send the 503 themselves.
        wait_until(
            lambda: "x-request-id" not in broker.client.get("/v1/connections").headers, "the gateway stops forwarding"
        )
        _check_unavailable(stack, broker, linked)
        step.note("services get 503 with a code and Retry-After; browsers get a page that asks to try again")
        step.sent("docker compose start postgres")
        stack.compose("up", "--detach", "--wait", "--no-deps", "postgres")
        for replica in REPLICAS:
            stack.wait_until_ready(replica)
        _wait_for_query(broker, linked)
        expect(started_at, _started_at(stack), what="the start times of the replicas")
        step.received("the replicas recovered without a restart")


def check_backup_and_restore(printer: Printer, stack: Stack, broker: Broker, linked: LinkedAccount) -> None:
    """Back up the database, drop a table, and restore the backup under the same database name."""
    with printer.step("Back up the database, drop a table, and restore the backup") as step:
        stack.execute("postgres", "sh", "-c", f"pg_dump {_USER} --format=custom broker > {_DUMP}")
        stack.execute("postgres", "psql", _USER, "broker", "-c", "DROP TABLE tokens")
        stack.compose("stop", *REPLICAS)
        try:
            report = _run_broker(stack, "doctor")
        except Unexpected as error:
            report = str(error)
        expect_that("tables were lost: tokens" in report, expected="that doctor names the lost table", actual=report)
        stack.execute("postgres", "createdb", _USER, "restored")
        stack.execute("postgres", "pg_restore", _USER, "--dbname=restored", "--no-owner", "--exit-on-error", _DUMP)
        stack.execute(
            *("postgres", "psql", _USER, "postgres"),
            *("-c", "ALTER DATABASE broker RENAME TO damaged", "-c", "ALTER DATABASE restored RENAME TO broker"),
        )
        stack.compose("run", "--rm", "migrate")
        _run_broker(stack, "doctor")
        verification = _run_broker(stack, "audit", "verify")
        expect_that("intact" in verification, expected="an intact audit log", actual=verification)
        stack.compose("up", "--detach", "--wait", "--no-deps", *REPLICAS)
        for replica in REPLICAS:
            stack.wait_until_ready(replica)
        _wait_for_query(broker, linked)
        stack.execute("postgres", "dropdb", _USER, "damaged")
        step.received("the audit log is intact, and a query of the connection succeeds")


def _check_unavailable(stack: Stack, broker: Broker, linked: LinkedAccount) -> None:
    response = broker.client.get("/v1/connections")
    expect(503, response.status_code, what="the status during the outage")
    expect("broker_unavailable", response.json()["code"], what="the code during the outage")
    expect_that("retry-after" in response.headers, expected="Retry-After", actual="none")
    query = broker.client.post(f"/v1/connections/{linked.connection_id}/graphql", json={"query": "{ user { id } }"})
    expect("BROKER_UNAVAILABLE", query.json()["errors"][0]["extensions"]["code"], what="the code of a query")
    page = open_client(stack.public_url, transport=broker.transport).get("/callback")
    expect((503, "Please try again in a moment."), (page.status_code, page.text), what="the page during the outage")


def _run_broker(stack: Stack, *command: str) -> str:
    return stack.compose("run", "--rm", "--no-deps", REPLICAS[0], "broker", *command)


def _started_at(stack: Stack) -> list[str]:
    return [stack.inspect(replica)["State"]["StartedAt"] for replica in REPLICAS]


def _wait_for_query(broker: Broker, linked: LinkedAccount) -> None:
    # The gateway checks the replicas' readiness once a second.
    wait_until(
        lambda: broker.query_without_showing(linked.connection_id, accounts_query()).status_code == 200,
        "a query succeeds again",
    )


def _is_unready(stack: Stack, replica: str) -> bool:
    return not stack.is_ready(replica)
