"""Starting a session, and the callback that ends it, with the sandbox bank."""

import time

import httpx

from benchmarks.load import Load, put_load
from benchmarks.processes import cpu_seconds
from benchmarks.report import show_table
from benchmarks.stage import RunningBroker, Stage, free_url
from sandbox.browser import log_in_and_decide

_SESSION = b'{"user_id":"user-1"}'


async def measure(stage: Stage) -> None:
    """Measure session starts under load, and callbacks one after another, each after a login at the bank."""
    count, logins = (200, 10) if stage.quick else (3_000, 100)
    url = free_url()
    with stage.sandbox(url) as bank:
        async with stage.broker(bank.url, url=url) as broker, httpx.AsyncClient(timeout=30) as http:
            urls = [f"{url}/v1/sessions"]
            # The first one fetches the bank's discovery document.
            await put_load(urls, broker.authorization, connections=1, requests=20, body=_SESSION)
            before = cpu_seconds(broker.pid)
            load = await put_load(urls, broker.authorization, connections=8, requests=count, body=_SESSION)
            started = _row("start a session", load, cpu_seconds(broker.pid) - before)
            callbacks = [await _go_to_bank(http, broker) for _ in range(logins)]
            before = cpu_seconds(broker.pid)
            ended = await _open(http, callbacks)
            finished = _row("callback", ended, cpu_seconds(broker.pid) - before)
    show_table(["", "ms CPU", "p50 ms", "p99 ms", "failed"], [started, finished])
    stage.report.at_most("failed sessions and callbacks", load.failures + ended.failures, 0)


def _row(name: str, load: Load, cpu: float) -> list[str]:
    return [
        name,
        f"{cpu / load.requests * 1000:.1f}",
        f"{load.milliseconds(0.5):.1f}",
        f"{load.milliseconds(0.99):.1f}",
        str(load.failures),
    ]


async def _go_to_bank(http: httpx.AsyncClient, broker: RunningBroker) -> str:
    """Start a session, log in, and return the URL to which the bank redirects the browser."""
    headers = {"authorization": broker.authorization}
    response = await http.post(f"{broker.url}/v1/sessions", json={"user_id": "user-1"}, headers=headers)
    response.raise_for_status()
    return await log_in_and_decide(http, response.json()["authorization_url"])


async def _open(http: httpx.AsyncClient, addresses: list[str]) -> Load:
    """Open each URL, as a browser would."""
    failures, latencies = 0, []
    began = time.perf_counter()
    for address in addresses:
        sent_at = time.perf_counter()
        response = await http.get(address, headers={"accept": "text/html"})
        latencies.append(time.perf_counter() - sent_at)
        failures += response.status_code != 200
    return Load(time.perf_counter() - began, sorted(latencies), failures)
