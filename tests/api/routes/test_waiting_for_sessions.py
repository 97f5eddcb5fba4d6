"""`GET /v1/sessions/{id}?wait=` responds as soon as the login has ended."""

import asyncio
from typing import Any

import pytest

from sandbox.client import SandboxClient
from tests.api.conftest import ApiFactory, BrokerFactory
from tests.support.broker import Api, Broker, Browser
from tests.support.error_responses import assert_problem
from tests.support.eventually import eventually
from tests.support.journey import go_to_bank
from tests.support.logs import Logs


async def waiting(api: Api, session: dict[str, Any]) -> asyncio.Task[dict[str, Any]]:
    """Send a request with the longest wait, and return once it is certainly waiting."""
    task = asyncio.create_task(api.session(session["id"], wait=60))
    await api.session(session["id"])
    assert not task.done()
    return task


async def test_a_waiting_request_gets_its_response_when_the_login_ends(
    api: Api, bank: SandboxClient, browser: Browser
) -> None:
    session = await api.start()
    task = await waiting(api, session)
    await browser.open(await go_to_bank(bank, browser, session))
    ended = await asyncio.wait_for(task, 20)
    assert ended["status"] == "completed"
    assert ended == await api.session(session["id"])


async def test_a_login_that_ends_on_another_replica_ends_the_wait(
    api: Api, bank: SandboxClient, brokers: BrokerFactory, sign_up: ApiFactory
) -> None:
    session = await api.start()
    task = await waiting(api, session)
    other = await sign_up(broker=await brokers(), tenant=api.tenant)
    await other.delete(f"/v1/sessions/{session['id']}")
    assert (await asyncio.wait_for(task, 20))["status"] == "cancelled"


async def test_after_the_wait_the_pending_login_is_returned(api: Api) -> None:
    session = await api.start()
    assert await api.session(session["id"], wait=1) == session


async def test_an_ended_login_is_returned_at_once(api: Api) -> None:
    session = await api.start()
    await api.delete(f"/v1/sessions/{session['id']}")
    assert (await asyncio.wait_for(api.session(session["id"], wait=60), 20))["status"] == "cancelled"


async def test_an_erased_session_ends_the_wait(api: Api) -> None:
    session = await api.start(user_id="leaver")
    task = asyncio.create_task(api.get(f"/v1/sessions/{session['id']}?wait=60"))
    await api.session(session["id"])
    await api.delete("/v1/users/leaver")
    assert_problem(await asyncio.wait_for(task, 20), 404, "session_not_found")


async def test_a_caller_that_is_disabled_during_the_wait_is_rejected(api: Api, broker: Broker) -> None:
    session = await api.start()
    task = asyncio.create_task(api.get(f"/v1/sessions/{session['id']}?wait=60"))
    await api.session(session["id"])
    await broker.registry.disable(api.caller.id, actor="operator")
    assert_problem(await asyncio.wait_for(task, 20), 401, "unauthorized_caller")


async def test_the_wait_ends_when_the_caller_disconnects(api: Api, broker: Broker, logs: Logs) -> None:
    session = await api.start()
    _, writer = await asyncio.open_connection(*broker.host)
    writer.write(
        f"GET /v1/sessions/{session['id']}?wait=60 HTTP/1.1\r\nhost: broker\r\n"
        f"authorization: Bearer {api.api_key}\r\n\r\n".encode()
    )
    await writer.drain()
    writer.close()

    async def has_ended() -> bool:
        return "/v1/sessions/{session_id}" in [line["route"] for line in logs.with_event("request")]

    await eventually(has_ended, timeout_seconds=5)


@pytest.mark.parametrize("wait", ["61", "-1", "long", "1.5"])
async def test_a_wait_of_more_than_a_minute_is_rejected(api: Api, wait: str) -> None:
    session = await api.start()
    assert_problem(await api.get(f"/v1/sessions/{session['id']}?wait={wait}"), 422, "invalid_request")


async def test_many_requests_can_wait_for_the_same_login(api: Api, bank: SandboxClient, browser: Browser) -> None:
    session = await api.start()
    tasks = [asyncio.create_task(api.session(session["id"], wait=60)) for _ in range(20)]
    await browser.open(await go_to_bank(bank, browser, session, decision="cancel"))

    async def all_are_answered() -> bool:
        return all(task.done() for task in tasks)

    await eventually(all_are_answered)
    assert {task.result()["status"] for task in tasks} == {"cancelled"}
