"""Prometheus, with the alert rules and with what the dashboard asks."""

import json
import time
from typing import Any

import httpx

from app.demo.exchange import open_client
from app.demo.expectations import Unexpected, expect, expect_that
from app.demo.printing import Printer
from containers.stack import REPLICAS, ROOT, Stack

_DASHBOARDS = ROOT / "deploy" / "grafana" / "dashboards"
_LONGEST_WAIT = 90.0


def look_at_monitoring(printer: Printer, stack: Stack) -> None:
    """Bring Prometheus up, and see that it hears of the replicas."""
    with printer.step("Bring Prometheus up, which watches both replicas") as step:
        step.sent("docker compose --profile monitoring up --detach prometheus")
        stack.compose("up", "--detach", "--no-deps", "prometheus")
        with open_client(stack.prometheus_url) as client:
            _wait_for_targets(client)
            step.came(f"{len(REPLICAS)} targets are up")
            groups = _answer(client, "/api/v1/rules")["groups"]
            rules = [rule for group in groups for rule in group["rules"]]
            unhealthy = [rule["name"] for rule in rules if rule["health"] == "err"]
            expect([], unhealthy, what="alert rules that cannot be evaluated")
            step.note(f"{len(rules)} alert rules are loaded")
            queries = list(dashboard_queries())
            for query in queries:
                _answer(client, "/api/v1/query", query=query)
            expect_that(bool(queries), expected="queries of the dashboard", came="none")
            step.note(f"{len(queries)} queries of the dashboard are answered")


def dashboard_queries() -> list[str]:
    """Return what the panels ask, with Grafana's own variables filled in."""
    return [
        target["expr"].replace("$__rate_interval", "1m").replace("$instance", ".*")
        for file in sorted(_DASHBOARDS.glob("*.json"))
        for panel in json.loads(file.read_text(encoding="utf-8"))["panels"]
        for target in panel.get("targets", ())
    ]


def _wait_for_targets(client: httpx.Client) -> None:
    deadline = time.monotonic() + _LONGEST_WAIT
    while True:
        try:
            found = [one["health"] for one in _answer(client, "/api/v1/targets")["activeTargets"]]
        except (Unexpected, httpx.TransportError):
            found = []
        if found == ["up"] * len(REPLICAS):
            return
        if time.monotonic() > deadline:
            raise Unexpected(f"{len(REPLICAS)} targets that are up", str(found))
        time.sleep(1)


def _answer(client: httpx.Client, path: str, **parameters: str) -> dict[str, Any]:
    response = client.get(path, params=parameters)
    if response.status_code != 200:
        raise Unexpected(f"an answer to {parameters.get('query', path)}", response.text[:300])
    return dict(response.json()["data"])
