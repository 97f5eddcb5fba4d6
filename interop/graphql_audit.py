"""Compares the GraphQL-over-HTTP audit of the npm package graphql-http with and without the broker in between."""

import json
from typing import Any

from interop.node import run_script
from interop.report import Report, expect
from interop.steps import VariantRun

AuditResults = dict[str, dict[str, Any]]


async def compare_audits(report: Report, run: VariantRun) -> None:
    """Audit a conforming server directly and through the broker. Raises CheckFailed if the results differ."""
    connection_id = await run.link()
    token = (await run.harness.get_tokens(connection_id)).access_token.get_secret_value()
    key = run.harness.api_key.get_secret_value()
    with report.step("the graphql-http audit has the same results through the broker as without it"):
        direct = await _audit(run.servers.graphql_url, f"Bearer {token}")
        proxied = await _audit(f"{run.broker.url}/v1/connections/{connection_id}/graphql", f"Bearer {key}")
        expect(direct.keys() == proxied.keys() and len(direct) > 50, f"the audit made {len(proxied)} checks")
        for check_id, expected in direct.items():
            result = proxied[check_id]
            # The broker accepts only POST; GET is optional in GraphQL over HTTP.
            may_differ = result["usesGet"] and result["name"].startswith("MAY")
            expect(result["status"] == expected["status"] or may_differ, f"{result} instead of {expected}")
    statuses = [result["status"] for result in proxied.values()]
    counts = {status: statuses.count(status) for status in ("ok", "warn", "error")}
    report.print(f"        {len(proxied)} checks: {counts}")


async def _audit(url: str, authorization: str) -> AuditResults:
    status, output = await run_script("audit.mjs", url, authorization)
    expect(status == 0, f"the audit exited with {status}: {output[-500:]}")
    return {result["id"]: result for result in map(json.loads, output.splitlines())}
