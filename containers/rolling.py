"""Replicas that stop, start and are replaced, while services go on asking and notice nothing."""

import time

from app.demo.broker import Broker
from app.demo.expectations import expect, expect_that
from app.demo.linking import Linked
from app.demo.printing import Printer
from containers.load import Load
from containers.stack import REPLICAS, Stack


def restart_one(printer: Printer, stack: Stack, broker: Broker, linked: Linked) -> None:
    """Restart one replica under queries."""
    with printer.step("Restart a replica while services go on asking") as step:
        step.sent(f"docker compose restart {REPLICAS[0]}")
        before = stack.inspect(REPLICAS[0])["State"]["StartedAt"]
        load = Load(broker, linked.connection_id)
        began = time.monotonic()
        with load.running():
            load.wait_for_more()
            stack.compose("restart", REPLICAS[0])
            stack.wait_until_ready(REPLICAS[0])
            load.wait_for_more()
        load.require_no_failure()
        state = stack.inspect(REPLICAS[0])["State"]
        expect_that(state["StartedAt"] != before, expected="another start", came=state["StartedAt"])
        step.came(f"{load.answered} queries answered in {time.monotonic() - began:.0f} s, 0 failed")


def replace_all(printer: Printer, stack: Stack, broker: Broker, linked: Linked) -> None:
    """Replace the replicas one by one under queries, as an upgrade does."""
    with printer.step("Replace both replicas, one after the other, while services go on asking") as step:
        before = [stack.container_of(replica) for replica in REPLICAS]
        load = Load(broker, linked.connection_id)
        began = time.monotonic()
        with load.running():
            load.wait_for_more()
            for replica in REPLICAS:
                step.sent(f"docker compose up --detach --wait --no-deps --force-recreate {replica}")
                stack.compose("up", "--detach", "--wait", "--no-deps", "--force-recreate", replica)
                stack.wait_until_ready(replica)
                load.wait_for_more()
        load.require_no_failure()
        kept = set(before) & {stack.container_of(replica) for replica in REPLICAS}
        expect(set(), kept, what="containers that were not replaced")
        step.came(f"{load.answered} queries answered in {time.monotonic() - began:.0f} s, 0 failed")
