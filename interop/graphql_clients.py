"""Third-party GraphQL clients, configured with nothing but a URL and a header."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from chaos.waiting import until
from interop.gql_client import STEPS, open_session
from interop.node import run_script
from interop.report import Report, expect
from interop.steps import SUBJECT, VariantRun

_NODE_CLIENTS = ("graphql-request", "apollo-client")


async def check_clients(report: Report, run: VariantRun) -> None:
    """Query one connection with each client. Raises CheckFailed at the first failure."""
    connection_id = await run.link()
    url = f"{run.broker.url}/v1/connections/{connection_id}/graphql"
    unknown_url = url.replace(connection_id, "con_unknown")
    key = run.harness.api_key.get_secret_value()
    for name in _NODE_CLIENTS:
        with report.step(f"{name}: {', '.join(STEPS)}"):
            async with _expecting_one_abort(run):
                await _run_node_client(name, url, key, unknown_url)
    with report.step(f"gql: {', '.join(STEPS)}"):
        async with _expecting_one_abort(run):
            await _run_gql(url, key, unknown_url)


async def _run_node_client(name: str, url: str, key: str, unknown_url: str) -> None:
    status, output = await run_script(f"{name}.mjs", url, key, SUBJECT, unknown_url)
    passed = [line.removeprefix("ok ") for line in output.splitlines() if line.startswith("ok ")]
    expect(status == 0 and passed == list(STEPS), f"{name} printed: {output}")


async def _run_gql(url: str, key: str, unknown_url: str) -> None:
    headers = {"authorization": f"Bearer {key}"}
    async with open_session(url, headers) as session, open_session(unknown_url, headers) as unknown_session:
        for step in STEPS.values():
            await step(session, unknown_session)


@asynccontextmanager
async def _expecting_one_abort(run: VariantRun) -> AsyncIterator[None]:
    """Check that the GraphQL server sees one aborted request during the block, and has no open request after it."""
    aborted_before = (await run.servers.call_graphql_server("ledger"))["aborted"]
    yield

    async def is_aborted() -> bool:
        ledger = await run.servers.call_graphql_server("ledger")
        return bool(ledger["aborted"] == aborted_before + 1 and ledger["open"] == 0)

    await until("the GraphQL server to see the connection close", is_aborted, timeout_seconds=5)
