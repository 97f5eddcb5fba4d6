"""The npm package graphql-http audits GraphQL over HTTP: through the broker it must find what it finds without it."""

import json
from typing import Any

from interop.node import run_script
from interop.report import Report, expect
from interop.steps import Scene

Findings = dict[str, dict[str, Any]]


async def compare_audits(report: Report, scene: Scene) -> None:
    """Audit a conforming server straight and through the broker. Raises Failed."""
    connection_id = await scene.link()
    token = (await scene.home.tokens_of(connection_id)).access_token.get_secret_value()
    key = scene.home.api_key.get_secret_value()
    with report.step("graphql-http's audit finds through the broker what it finds without"):
        straight = await _audit(scene.other_side.graphql_url, f"Bearer {token}")
        through = await _audit(f"{scene.broker.url}/v1/connections/{connection_id}/graphql", f"Bearer {key}")
        expect(straight.keys() == through.keys() and len(straight) > 50, f"it made {len(through)} checks")
        for found, expected in ((through[one], straight[one]) for one in straight):
            # The broker takes POST alone, as a server may.
            is_free_to_differ = found["usesGet"] and found["name"].startswith("MAY")
            expect(found["status"] == expected["status"] or is_free_to_differ, f"{found} instead of {expected}")
    counts = {status: sum(one["status"] == status for one in through.values()) for status in ("ok", "warn", "error")}
    report.say(f"        of {len(through)} checks {counts}")


async def _audit(url: str, authorization: str) -> Findings:
    status, said = await run_script("audit.mjs", url, authorization)
    expect(status == 0, f"the audit ended with {status}: {said[-500:]}")
    return {found["id"]: found for found in map(json.loads, said.splitlines())}
