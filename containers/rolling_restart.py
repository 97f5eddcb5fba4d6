"""Checks that no query fails while replicas are restarted and replaced."""

import time

from app.demo.broker import Broker
from app.demo.expectations import expect, expect_that
from app.demo.login_steps import LinkedAccount
from app.demo.printing import Printer
from containers.load import Load
from containers.stack import REPLICAS, Stack


def check_restart(printer: Printer, stack: Stack, broker: Broker, linked: LinkedAccount) -> None:
    """Restart one replica under load."""
    with printer.step("Restart a replica under load") as step:
        step.sent(f"docker compose restart {REPLICAS[0]}")
        started_before = stack.inspect(REPLICAS[0])["State"]["StartedAt"]
        load = Load(broker, linked.connection_id)
        began = time.monotonic()
        with load.running():
            load.wait_for_queries()
            stack.compose("restart", REPLICAS[0])
            stack.wait_until_ready(REPLICAS[0])
            load.wait_for_queries()
        load.require_no_failure()
        started = stack.inspect(REPLICAS[0])["State"]["StartedAt"]
        expect_that(started != started_before, expected="another start time", actual=started)
        step.received(f"{load.succeeded} queries succeeded in {time.monotonic() - began:.0f} s, 0 failed")


def check_replacement(printer: Printer, stack: Stack, broker: Broker, linked: LinkedAccount) -> None:
    """Replace the replicas one by one under load, as in an upgrade."""
    with printer.step("Replace both replicas one by one under load") as step:
        containers_before = {stack.container_id(replica) for replica in REPLICAS}
        load = Load(broker, linked.connection_id)
        began = time.monotonic()
        with load.running():
            load.wait_for_queries()
            for replica in REPLICAS:
                step.sent(f"docker compose up --detach --wait --no-deps --force-recreate {replica}")
                stack.compose("up", "--detach", "--wait", "--no-deps", "--force-recreate", replica)
                stack.wait_until_ready(replica)
                load.wait_for_queries()
        load.require_no_failure()
        not_replaced = containers_before & {stack.container_id(replica) for replica in REPLICAS}
        expect(set(), not_replaced, what="the containers that were not replaced")
        step.received(f"{load.succeeded} queries succeeded in {time.monotonic() - began:.0f} s, 0 failed")
