"""Every example on `/docs` is sent, and its response has the documented shape."""

import json
from typing import Any

import httpx
import pytest

from app.api.docs.reference import Call, tasks_of
from sandbox.client import SandboxClient
from tests.docs.shapes import require_same_shape
from tests.support.broker import Api, Broker, Browser
from tests.support.journey import go_to_bank
from tests.support.openapi import openapi_document

CALLS = {call.id: call for task in tasks_of(openapi_document()) for call in task.calls}
# `metrics` returns text. A browser sends the others, which have their own tests in tests/api/routes/.
BROWSER_CALLS = {
    "connect",
    "press_connect_button",
    "callback",
    "open_interaction",
    "press_interaction_button",
    "come_back",
}
NOT_SENT = BROWSER_CALLS | {"metrics"}


class Examples:
    """Sends the example requests, with the ids of this run."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self.performed: set[str] = set()

    async def perform(self, call_id: str, *, query: str = "", body: Any = None, **ids: str) -> Any:
        """Send an example, compare the response, and return it. `body` replaces the example's body."""
        call = CALLS[call_id]
        response = await self._send(call, query, body, ids)
        assert response.status_code == call.status, f"{call_id}: {response.text}"
        self.performed.add(call_id)
        if call.response is None:
            assert not response.content
            return None
        require_same_shape(call_id, json.loads(call.response), response.json())
        return response.json()

    async def _send(self, call: Call, query: str, body: Any, ids: dict[str, str]) -> httpx.Response:
        path = call.path.format(**ids) + query
        example = json.loads(call.body) if call.body else None
        if body is not None:
            require_same_shape(f"the body of {call.id}", example, body)
        return await self._api.request(call.method, path, json=body or example)


@pytest.fixture
def examples(api: Api) -> Examples:
    return Examples(api)


async def test_every_example_is_correct(
    examples: Examples, broker: Broker, bank: SandboxClient, browser: Browser
) -> None:
    perform = examples.perform

    webhook = await perform("create_webhook")
    session = await perform("start_session")
    await browser.open(await go_to_bank(bank, browser, session))
    await perform("get_session", session_id=session["id"], query="?wait=5")
    connection_id = (await perform("list_sessions"))["items"][0]["connection_id"]

    cancelled = await perform("start_session")
    await perform("cancel_session", session_id=cancelled["id"])
    confirmed = await examples._api.start(require_confirmation=True, return_url="https://shop.example/done")
    back = await browser.open(await go_to_bank(bank, browser, confirmed))
    code = httpx.URL(back.headers["location"]).params["confirmation_code"]
    await perform("confirm_session", session_id=confirmed["id"], body={"confirmation_code": code})

    await perform("query_the_bank", connection_id=connection_id)
    await perform("refresh_connection", connection_id=connection_id, body={"version": 1})
    await perform("get_token", connection_id=connection_id)
    await perform("get_connection", connection_id=connection_id)
    await perform("list_connections")
    await perform("read_audit")
    request = {
        "interaction_url": f"{broker.settings.stitch_issuer}/approval",
        "interaction_id": "1",
        "return_url": None,
    }
    interaction = await perform("start_interaction", connection_id=connection_id, body=request)
    await perform("get_interaction", connection_id=connection_id, interaction_id=interaction["id"])
    await perform("disconnect", connection_id=connection_id)
    await perform("erase_user", user_id="user-42")

    webhook_id = webhook["id"]
    await perform("list_webhooks")
    await perform("get_webhook", webhook_id=webhook_id)
    await perform("rotate_secret", webhook_id=webhook_id)
    delivery_id = (await perform("list_deliveries", webhook_id=webhook_id))["items"][0]["id"]
    await perform("redeliver", webhook_id=webhook_id, delivery_id=delivery_id)
    await perform("delete_webhook", webhook_id=webhook_id)

    caller_id = (await perform("create_caller"))["id"]
    await perform("list_callers")
    await perform("get_caller", caller_id=caller_id)
    key_id = (await perform("create_key", caller_id=caller_id))["id"]
    await perform("list_keys", caller_id=caller_id)
    await perform("revoke_key", caller_id=caller_id, key_id=key_id)
    await perform("disable_caller", caller_id=caller_id)

    await perform("healthz")
    await perform("readyz")

    assert CALLS.keys() - NOT_SENT == examples.performed, "add the new call to this test"
