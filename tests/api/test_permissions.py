"""Every call of the API by every permission, and by callers of another tenant.

The calls come from the OpenAPI document: one without a row here fails.
"""

from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from app.callers.permissions import Permission
from sandbox.client import SandboxClient
from tests.api.conftest import ApiFactory
from tests.support.broker import EVERYTHING, Api, Broker
from tests.support.openapi import openapi_document

# Nobody listens there.
RECEIVER = "http://127.0.0.1:9/events"
GRAPHQL = "/v1/connections/{connection_id}/graphql"


@dataclass(frozen=True)
class Row:
    """A call, what it needs, and how it is answered when that was granted."""

    method: str
    path: str
    permission: Permission
    granted: int
    body: dict[str, Any] | None = None
    foreign: int | None = None
    """How another tenant's thing is answered; None where no thing is named."""


ROWS = [
    Row("POST", "/v1/sessions", Permission.SESSIONS_WRITE, 201, {"user_id": "user-1"}),
    Row("GET", "/v1/sessions", Permission.SESSIONS_READ, 200),
    Row("GET", "/v1/sessions/{session_id}", Permission.SESSIONS_READ, 200, foreign=404),
    Row("DELETE", "/v1/sessions/{session_id}", Permission.SESSIONS_WRITE, 204, foreign=404),
    Row(
        *("POST", "/v1/sessions/{session_id}/confirm", Permission.SESSIONS_WRITE, 409),
        {"confirmation_code": "x"},
        404,
    ),
    Row("GET", "/v1/connections", Permission.CONNECTIONS_READ, 200),
    Row("GET", "/v1/connections/{connection_id}", Permission.CONNECTIONS_READ, 200, foreign=404),
    Row("POST", "/v1/connections/{connection_id}/refresh", Permission.CONNECTIONS_WRITE, 200, foreign=404),
    Row("POST", "/v1/connections/{connection_id}/token", Permission.TOKENS_READ, 200, foreign=404),
    Row("DELETE", "/v1/connections/{connection_id}", Permission.CONNECTIONS_WRITE, 204, foreign=404),
    Row("POST", GRAPHQL, Permission.GRAPHQL_QUERY, 200, {"query": "{ user { id } }"}, 404),
    Row("DELETE", "/v1/users/{user_id}", Permission.CONNECTIONS_WRITE, 204, foreign=204),
    Row("POST", "/v1/callers", Permission.ADMIN, 201, {"name": "new", "permissions": ["admin"]}),
    Row("GET", "/v1/callers", Permission.ADMIN, 200),
    Row("GET", "/v1/callers/{caller_id}", Permission.ADMIN, 200, foreign=404),
    Row("DELETE", "/v1/callers/{caller_id}", Permission.ADMIN, 204, foreign=404),
    Row("POST", "/v1/callers/{caller_id}/keys", Permission.ADMIN, 201, foreign=404),
    Row("GET", "/v1/callers/{caller_id}/keys", Permission.ADMIN, 200, foreign=404),
    Row("DELETE", "/v1/callers/{caller_id}/keys/{key_id}", Permission.ADMIN, 204, foreign=404),
    Row(
        *("POST", "/v1/connections/{connection_id}/interactions", Permission.SESSIONS_WRITE, 422),
        {"interaction_url": "https://elsewhere.example/", "interaction_id": "1"},
        404,
    ),
    Row(
        *("GET", "/v1/connections/{connection_id}/interactions/{interaction_id}", Permission.SESSIONS_READ, 200),
        foreign=404,
    ),
    Row("POST", "/v1/webhooks", Permission.WEBHOOKS_WRITE, 201, {"url": RECEIVER}),
    Row("GET", "/v1/webhooks", Permission.WEBHOOKS_READ, 200),
    Row("GET", "/v1/webhooks/{webhook_id}", Permission.WEBHOOKS_READ, 200, foreign=404),
    Row("DELETE", "/v1/webhooks/{webhook_id}", Permission.WEBHOOKS_WRITE, 204, foreign=404),
    Row("POST", "/v1/webhooks/{webhook_id}/secret", Permission.WEBHOOKS_WRITE, 200, foreign=404),
    Row("GET", "/v1/webhooks/{webhook_id}/deliveries", Permission.WEBHOOKS_READ, 200, foreign=404),
    Row(
        *("POST", "/v1/webhooks/{webhook_id}/deliveries/{delivery_id}/redeliver", Permission.WEBHOOKS_WRITE, 202),
        foreign=404,
    ),
    Row("GET", "/v1/audit", Permission.AUDIT_READ, 200),
]


def name_of(row: Row) -> str:
    """Name a row in a test's id."""
    return f"{row.method} {row.path}"


@dataclass(frozen=True)
class Things:
    """One of everything, of one tenant."""

    owner: Api
    names: dict[str, str]
    broker: Broker

    async def call(self, api: Api, row: Row) -> httpx.Response:
        """Make a row's call for these things."""
        return await api.request(row.method, row.path.format(**self.names), json=row.body)

    async def look(self) -> list[Any]:
        """Return all of it that can be changed."""
        answers = [
            await self.owner.get(path)
            for path in (
                "/v1/sessions",
                "/v1/connections",
                "/v1/callers",
                "/v1/webhooks",
                f"/v1/callers/{self.names['caller_id']}/keys",
            )
        ]
        return [answer.json()["items"] for answer in answers]


@pytest.fixture
async def things(api: Api, sign_up: ApiFactory, broker: Broker, bank: SandboxClient) -> Things:
    """What `api`'s tenant has."""
    other = await sign_up(tenant=api.tenant, permissions=["admin"])
    [key] = (await api.get(f"/v1/callers/{other.caller.id}/keys")).json()["items"]
    webhook_id = (await api.post("/v1/webhooks", json={"url": RECEIVER})).json()["id"]
    await api.delete(f"/v1/sessions/{(await api.start())['id']}")
    [delivery] = (await api.get(f"/v1/webhooks/{webhook_id}/deliveries")).json()["items"]
    connection_id = (await broker.rows.link(bank, tenant=api.tenant)).id
    interaction = await api.post(
        f"/v1/connections/{connection_id}/interactions",
        json={"interaction_url": f"{broker.settings.stitch_issuer}/approval?id=1", "interaction_id": "1"},
    )
    names = {
        "interaction_id": interaction.json()["id"],
        "webhook_id": webhook_id,
        "delivery_id": delivery["id"],
        "session_id": (await api.start())["id"],
        "connection_id": connection_id,
        "caller_id": other.caller.id,
        "key_id": key["id"],
        "user_id": "user-1",
    }
    return Things(api, names, broker)


def test_every_call_of_the_api_has_a_row() -> None:
    documented = {
        (method.upper(), path)
        for path, operations in openapi_document()["paths"].items()
        if path.startswith("/v1/")
        for method in operations
    }
    assert documented == {(row.method, row.path) for row in ROWS}


@pytest.mark.parametrize("row", ROWS, ids=name_of)
async def test_its_own_permission_is_enough(things: Things, sign_up: ApiFactory, row: Row) -> None:
    api = await sign_up(tenant=things.owner.tenant, permissions=[row.permission])
    answer = await things.call(api, row)
    assert answer.status_code == row.granted, answer.text


@pytest.mark.parametrize("row", ROWS, ids=name_of)
async def test_all_other_permissions_together_are_not(things: Things, sign_up: ApiFactory, row: Row) -> None:
    before = await things.look()
    api = await sign_up(
        tenant=things.owner.tenant, permissions=[one for one in EVERYTHING if one is not row.permission], name="zzz"
    )
    answer = await things.call(api, row)
    assert answer.status_code == 403, answer.text
    refusal = answer.json()
    named = refusal["errors"][0]["message"] if row.path == GRAPHQL else refusal["detail"]
    assert f"`{row.permission}`" in named
    after = await things.look()
    after[2] = [one for one in after[2] if one["id"] != api.caller.id]
    assert after == before


@pytest.mark.parametrize("row", ROWS, ids=name_of)
async def test_nobody_without_a_key(things: Things, row: Row) -> None:
    before = await things.look()
    async with httpx.AsyncClient(base_url=things.broker.url) as nobody:
        answer = await nobody.request(row.method, row.path.format(**things.names), json=row.body)
    assert answer.status_code == 401
    assert await things.look() == before


@pytest.mark.parametrize("row", [row for row in ROWS if row.foreign], ids=name_of)
async def test_another_tenants_thing_does_not_exist(things: Things, stranger: Api, row: Row) -> None:
    before = await things.look()
    answer = await things.call(stranger, row)
    assert answer.status_code == row.foreign, answer.text
    hidden = [name for key, name in things.names.items() if f"{{{key}}}" not in row.path]
    assert all(name not in answer.text for name in hidden)
    assert await things.look() == before


@pytest.mark.parametrize("row", [row for row in ROWS if row.foreign is None and row.method == "GET"], ids=name_of)
async def test_a_list_shows_nothing_of_another_tenant(things: Things, stranger: Api, row: Row) -> None:
    answer = await things.call(stranger, row)
    assert answer.status_code == 200
    assert all(name not in answer.text for name in things.names.values() if name != "user-1")
    assert things.owner.tenant not in answer.text


async def test_a_mutation_needs_its_own_permission(things: Things, sign_up: ApiFactory) -> None:
    mutation = "mutation { testUserTriggerSimulatedReauthorization }"
    reader = await sign_up(tenant=things.owner.tenant, permissions=["graphql:query"])
    assert (await reader.query(things.names["connection_id"], mutation)).status_code == 403
    writer = await sign_up(tenant=things.owner.tenant, permissions=["graphql:mutate"])
    assert (await writer.query(things.names["connection_id"], mutation)).status_code == 403
    both = await sign_up(tenant=things.owner.tenant, permissions=["graphql:query", "graphql:mutate"])
    assert (await both.query(things.names["connection_id"], mutation)).json()["data"]
