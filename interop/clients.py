"""GraphQL clients that we did not write, with nothing but an address and a header."""

from collections.abc import Awaitable, Callable, Mapping

from chaos.waiting import until
from interop.node import run_script
from interop.python_client import STEPS, open_session
from interop.report import Report, expect
from interop.steps import SUBJECT, Scene

_NODE_CLIENTS = ("graphql-request", "apollo")
_NODE_STEPS = ("query", "variables", "pages", "errors", "refusals", "abort")


async def try_clients(report: Report, scene: Scene) -> None:
    """Let each client query one connection. Raises Failed with the first step that does not hold."""
    connection_id = await scene.link()
    url = f"{scene.broker.url}/v1/connections/{connection_id}/graphql"
    unknown = url.replace(connection_id, "con_unknown")
    key = scene.home.api_key.get_secret_value()
    for name in _NODE_CLIENTS:
        with report.step(f"{name}: {', '.join(_NODE_STEPS)}"):
            await _releasing(scene, lambda name=name: _node_client(name, url, key, unknown))  # type: ignore[misc]
    with report.step(f"gql: {', '.join(STEPS)}"):
        await _releasing(scene, lambda: _python_client(url, key, unknown))


async def _node_client(name: str, url: str, key: str, unknown: str) -> None:
    status, said = await run_script(f"{name}.mjs", url, key, SUBJECT, unknown)
    done = [line.removeprefix("ok ") for line in said.splitlines() if line.startswith("ok ")]
    expect(status == 0 and done == list(_NODE_STEPS), f"{name} said: {said}")


async def _python_client(url: str, key: str, unknown: str) -> None:
    headers: Mapping[str, str] = {"authorization": f"Bearer {key}"}
    async with open_session(url, headers) as session, open_session(unknown, headers) as elsewhere:
        for step in STEPS.values():
            await step(session, elsewhere)


async def _releasing(scene: Scene, use: Callable[[], Awaitable[None]]) -> None:
    """Use a client that aborts one query, and see that the GraphQL server is told so, and has nothing open."""
    before = (await scene.other_side.resource("ledger"))["aborted"]
    await use()

    async def is_released() -> bool:
        ledger = await scene.other_side.resource("ledger")
        return bool(ledger["aborted"] == before + 1 and ledger["open"] == 0)

    await until("the GraphQL server to hear that nobody waits for its answer", is_released, patience=5)
