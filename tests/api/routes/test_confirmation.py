"""`require_confirmation`: the caller confirms with a code that its own user opened the link."""

import asyncio
import re
from typing import Any

import pytest

from app.store.postgresql.database_time import seconds_from_now
from sandbox.client import SandboxClient
from tests.support.bank import living_families_at
from tests.support.broker import Api, Broker, Browser
from tests.support.error_responses import assert_graphql_error, assert_problem
from tests.support.eventually import eventually
from tests.support.journey import go_to_bank, log_in, parameters_of

RETURN_URL = "https://shop.example/done"


async def log_in_unconfirmed(
    api: Api, bank: SandboxClient, browser: Browser, **request: Any
) -> tuple[dict[str, Any], str]:
    """Log in up to the confirmation. Returns the session and the code that the browser brought."""
    session, shown = await log_in(api, bank, browser, return_url=RETURN_URL, require_confirmation=True, **request)
    assert session["status"] == "awaiting_confirmation"
    parameters = parameters_of(shown.headers["location"])
    assert parameters["status"] == "awaiting_confirmation"
    return session, parameters["confirmation_code"]


async def confirm(api: Api, session: dict[str, Any], code: str) -> Any:
    """Send a code."""
    return await api.post(f"/v1/sessions/{session['id']}/confirm", json={"confirmation_code": code})


async def test_a_link_is_usable_once_it_is_confirmed(api: Api, bank: SandboxClient, browser: Browser) -> None:
    session, code = await log_in_unconfirmed(api, bank, browser)
    connection = session["connection_id"]
    assert (await api.connection(connection))["status"] == "pending_confirmation"
    assert_graphql_error(await api.query(connection), 409, "CONNECTION_NOT_READY")
    assert_problem(await api.post(f"/v1/connections/{connection}/token"), 409, "connection_not_ready")
    assert_problem(await api.post(f"/v1/connections/{connection}/refresh"), 409, "connection_not_ready")
    response = await confirm(api, session, code)
    assert response.status_code == 200
    assert response.json()["status"] == "completed"
    assert response.json() == await api.session(session["id"])
    assert (await api.connection(connection))["status"] == "active"

    async def can_be_queried() -> bool:
        return (await api.query(connection)).status_code == 200

    await eventually(can_be_queried)


async def test_the_code_is_shown_if_there_is_no_return_url(api: Api, bank: SandboxClient, browser: Browser) -> None:
    session, shown = await log_in(api, bank, browser, require_confirmation=True)
    match = re.search(r"<code>([A-Za-z0-9_-]{43})</code>", shown.text)
    assert match is not None
    assert "only if you started this yourself" in shown.text
    assert (await confirm(api, session, match[1])).json()["status"] == "completed"


async def test_the_code_is_in_no_response_to_the_caller(api: Api, bank: SandboxClient, browser: Browser) -> None:
    session, code = await log_in_unconfirmed(api, bank, browser)
    for path in (f"/v1/sessions/{session['id']}", "/v1/sessions", "/v1/connections", "/v1/audit"):
        assert code not in (await api.get(path)).text


async def test_a_waiting_request_waits_until_the_confirmation(api: Api, bank: SandboxClient, browser: Browser) -> None:
    session, code = await log_in_unconfirmed(api, bank, browser)
    task = asyncio.create_task(api.session(session["id"], wait=60))
    await confirm(api, session, code)
    assert (await asyncio.wait_for(task, 20))["status"] == "completed"


@pytest.mark.parametrize("wrong", ["x", "x" * 43, "é", "wrong\x00"])
async def test_a_wrong_code_confirms_nothing(api: Api, bank: SandboxClient, browser: Browser, wrong: str) -> None:
    session, code = await log_in_unconfirmed(api, bank, browser)
    assert_problem(await confirm(api, session, wrong), 422, "confirmation_code_wrong")
    assert (await api.session(session["id"]))["status"] == "awaiting_confirmation"
    assert (await confirm(api, session, code)).status_code == 200


@pytest.mark.parametrize(
    "body", [{}, {"confirmation_code": ""}, {"confirmation_code": "x" * 201}, {"confirmation_code": 7}, []]
)
async def test_a_malformed_confirmation_is_rejected(api: Api, body: object) -> None:
    session = await api.start()
    response = await api.post(f"/v1/sessions/{session['id']}/confirm", json=body)
    assert_problem(response, 422, "invalid_request")


async def test_the_code_of_one_session_does_not_confirm_another(
    api: Api, bank: SandboxClient, browser: Browser, other_browser: Browser
) -> None:
    first, code_of_first = await log_in_unconfirmed(api, bank, browser)
    second, _ = await log_in_unconfirmed(api, bank, other_browser, user_id="user-2")
    assert_problem(await confirm(api, second, code_of_first), 422, "confirmation_code_wrong")
    assert (await api.session(first["id"]))["status"] == "awaiting_confirmation"


async def test_another_tenant_cannot_confirm(api: Api, stranger: Api, bank: SandboxClient, browser: Browser) -> None:
    session, code = await log_in_unconfirmed(api, bank, browser)
    assert_problem(await confirm(stranger, session, code), 404, "session_not_found")
    assert (await api.session(session["id"]))["status"] == "awaiting_confirmation"


async def test_a_login_without_confirmation_has_nothing_to_confirm(
    api: Api, bank: SandboxClient, browser: Browser
) -> None:
    session, _ = await log_in(api, bank, browser)
    assert_problem(await confirm(api, session, "x"), 409, "nothing_to_confirm")


async def test_a_code_works_once(api: Api, bank: SandboxClient, browser: Browser) -> None:
    session, code = await log_in_unconfirmed(api, bank, browser)
    await confirm(api, session, code)
    assert_problem(await confirm(api, session, code), 409, "nothing_to_confirm")


async def test_concurrent_confirmations_confirm_once(api: Api, bank: SandboxClient, browser: Browser) -> None:
    session, code = await log_in_unconfirmed(api, bank, browser)
    responses = await asyncio.gather(*(confirm(api, session, code) for _ in range(5)))
    assert sorted(response.status_code for response in responses) == [200, 409, 409, 409, 409]


async def test_a_login_that_waits_for_its_confirmation_cannot_be_cancelled_but_its_connection_can_be_deleted(
    api: Api, bank: SandboxClient, browser: Browser
) -> None:
    session, code = await log_in_unconfirmed(api, bank, browser)
    assert_problem(await api.delete(f"/v1/sessions/{session['id']}"), 409, "session_not_pending")
    assert (await api.delete(f"/v1/connections/{session['connection_id']}")).status_code == 204
    assert_problem(await confirm(api, session, code), 409, "connection_revoked")
    assert await living_families_at(bank) == 0


async def test_a_link_that_is_not_confirmed_in_time_is_revoked_and_erased(
    api: Api, broker: Broker, bank: SandboxClient, browser: Browser
) -> None:
    session, code = await log_in_unconfirmed(api, bank, browser)
    assert await living_families_at(bank) == 1
    await broker.rows.change_session(session["id"], expires_at=seconds_from_now(-1))
    assert_problem(await confirm(api, session, code), 409, "nothing_to_confirm")
    ended = await api.session(session["id"], wait=20)
    assert ended["status"] == "expired"
    assert ended["error"]["code"] == "unconfirmed"
    assert (await api.connection(session["connection_id"]))["status"] == "revoked"
    assert (await broker.rows.stored(session["connection_id"])).tokens is None

    async def bank_has_revoked() -> bool:
        return await living_families_at(bank) == 0

    await eventually(bank_has_revoked)
    assert_problem(await confirm(api, session, code), 409, "nothing_to_confirm")


async def test_a_renewal_keeps_the_old_tokens_until_it_is_confirmed(
    api: Api, broker: Broker, bank: SandboxClient, browser: Browser
) -> None:
    first, _ = await log_in(api, bank, browser)
    connection_id = first["connection_id"]
    session, code = await log_in_unconfirmed(api, bank, browser, connection_id=connection_id)
    assert session["connection_id"] == connection_id
    assert (await api.connection(connection_id))["version"] == 1
    assert (await api.query(connection_id)).headers["broker-token-version"] == "1"
    assert (await confirm(api, session, code)).json()["status"] == "completed"
    assert (await api.connection(connection_id))["version"] == 2

    async def uses_the_new_token() -> bool:
        return (await api.query(connection_id)).headers["broker-token-version"] == "2"

    await eventually(uses_the_new_token)


async def test_the_code_is_not_shown_to_another_browser(
    api: Api, bank: SandboxClient, browser: Browser, other_browser: Browser
) -> None:
    session = await api.start(require_confirmation=True)
    location = await go_to_bank(bank, browser, session)
    await browser.open(location)
    elsewhere = await other_browser.open(location)
    assert "<code>" not in elsewhere.text
    assert "<code>" in (await browser.open(location)).text
