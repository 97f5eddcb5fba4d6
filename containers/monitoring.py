"""Checks Prometheus, the alert rules and the queries of the dashboard."""

import json
from typing import Any

import httpx

from app.demo.exchange import open_client
from app.demo.expectations import Unexpected, expect, expect_that
from app.demo.printing import Printer
from containers.stack import REPLICAS, ROOT, Stack
from containers.waiting import wait_until

_DASHBOARDS = ROOT / "deploy" / "grafana" / "dashboards"
_SCRAPE_TIMEOUT_SECONDS = 90.0


def check_monitoring(printer: Printer, stack: Stack) -> None:
    """Start Prometheus: it must scrape the replicas, load the alert rules and execute the dashboard's queries."""
    with printer.step("Start Prometheus, which scrapes both replicas") as step:
        step.sent("docker compose --profile monitoring up --detach prometheus")
        stack.compose("up", "--detach", "--no-deps", "prometheus")
        with open_client(stack.prometheus_url) as client:
            wait_until(
                lambda: _target_healths(client) == ["up"] * len(REPLICAS),
                f"{len(REPLICAS)} targets are up",
                timeout_seconds=_SCRAPE_TIMEOUT_SECONDS,
                pause_seconds=1,
            )
            step.received(f"{len(REPLICAS)} targets are up")
            groups = _fetch(client, "/api/v1/rules")["groups"]
            rules = [rule for group in groups for rule in group["rules"]]
            unhealthy = [rule["name"] for rule in rules if rule["health"] == "err"]
            expect([], unhealthy, what="the alert rules that cannot be evaluated")
            step.note(f"{len(rules)} alert rules are loaded")
            queries = _dashboard_queries()
            for query in queries:
                _fetch(client, "/api/v1/query", query=query)
            expect_that(bool(queries), expected="queries of the dashboard", actual="none")
            step.note(f"{len(queries)} queries of the dashboard succeed")


def _dashboard_queries() -> list[str]:
    """Return the queries of all panels, with Grafana's variables replaced."""
    return [
        target["expr"].replace("$__rate_interval", "1m").replace("$instance", ".*")
        for file in sorted(_DASHBOARDS.glob("*.json"))
        for panel in json.loads(file.read_text(encoding="utf-8"))["panels"]
        for target in panel.get("targets", ())
    ]


def _target_healths(client: httpx.Client) -> list[str]:
    """Return the health of each target; none while Prometheus does not respond."""
    try:
        return [target["health"] for target in _fetch(client, "/api/v1/targets")["activeTargets"]]
    except (Unexpected, httpx.TransportError):
        return []


def _fetch(client: httpx.Client, path: str, **parameters: str) -> dict[str, Any]:
    response = client.get(path, params=parameters)
    if response.status_code != 200:
        raise Unexpected(f"a result of {parameters.get('query', path)}", response.text[:300])
    return dict(response.json()["data"])
