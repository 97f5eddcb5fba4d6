"""Every call of the API with and without its permission, and by callers of another tenant.

The calls come from the OpenAPI document: a call without a row here fails.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from app.callers.permissions import Permission
from sandbox.client import SandboxClient
from tests.api.conftest import ApiFactory
from tests.support.broker import EVERYTHING, Api, Broker
from tests.support.openapi import openapi_document

# No server listens there.
RECEIVER = "http://127.0.0.1:9/events"
GRAPHQL = "/v1/connections/{connection_id}/graphql"


@dataclass(frozen=True)
class Row:
    """A call, the permission that it needs, and the status of its response with that permission."""

    method: str
    path: str
    permission: Permission
    granted: int
    body: dict[str, Any] | None = None
    foreign: int | None = None
    """The status for a resource of another tenant, or None if the call names no resource."""


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
    """Return the id of a test."""
    return f"{row.method} {row.path}"


@dataclass(frozen=True)
class Resources:
    """One resource of each kind, all of one tenant."""

    owner: Api
    names: dict[str, str]
    broker: Broker

    async def call(self, api: Api, row: Row) -> httpx.Response:
        """Make the call of a row for these resources."""
        return await api.request(row.method, row.path.format(**self.names), json=row.body)

    async def list_all(self) -> list[Any]:
        """Return everything that can be changed."""
        responses = [
            await self.owner.get(path)
            for path in (
                "/v1/sessions",
                "/v1/connections",
                "/v1/callers",
                "/v1/webhooks",
                f"/v1/callers/{self.names['caller_id']}/keys",
            )
        ]
        return [response.json()["items"] for response in responses]


@pytest.fixture
async def resources(api: Api, broker: Broker, bank: SandboxClient) -> Resources:
    """Resources of the tenant of `api`, with tokens that the bank has issued."""
    return await create_resources(api, broker, (await broker.rows.link(bank, tenant=api.tenant)).id)


@pytest.fixture(scope="module")
async def shared_resources(broker: Broker) -> AsyncIterator[Resources]:
    """Resources that no test changes."""
    async with await broker.sign_up() as api:
        yield await create_resources(api, broker, (await broker.rows.insert(tenant=api.tenant)).id)


async def create_resources(api: Api, broker: Broker, connection_id: str) -> Resources:
    """Create the resources besides a connection."""
    caller = (await api.post("/v1/callers", json={"name": "other", "permissions": ["admin"]})).json()
    [key] = (await api.get(f"/v1/callers/{caller['id']}/keys")).json()["items"]
    webhook_id = (await api.post("/v1/webhooks", json={"url": RECEIVER})).json()["id"]
    await api.delete(f"/v1/sessions/{(await api.start())['id']}")
    [delivery] = (await api.get(f"/v1/webhooks/{webhook_id}/deliveries")).json()["items"]
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
        "caller_id": caller["id"],
        "key_id": key["id"],
        "user_id": "user-1",
    }
    return Resources(api, names, broker)


def test_every_call_of_the_api_has_a_row() -> None:
    documented = {
        (method.upper(), path)
        for path, operations in openapi_document()["paths"].items()
        if path.startswith("/v1/")
        for method in operations
    }
    assert documented == {(row.method, row.path) for row in ROWS}


@pytest.mark.parametrize("row", ROWS, ids=name_of)
async def test_the_permission_of_a_call_is_enough(resources: Resources, sign_up: ApiFactory, row: Row) -> None:
    api = await sign_up(tenant=resources.owner.tenant, permissions=[row.permission])
    response = await resources.call(api, row)
    assert response.status_code == row.granted, response.text


async def test_all_other_permissions_together_are_not_enough(shared_resources: Resources, sign_up: ApiFactory) -> None:
    callers = {
        permission: await sign_up(
            tenant=shared_resources.owner.tenant, permissions=[other for other in EVERYTHING if other != permission]
        )
        for permission in EVERYTHING
    }
    before = await shared_resources.list_all()
    for row in ROWS:
        response = await shared_resources.call(callers[row.permission], row)
        assert response.status_code == 403, f"{name_of(row)}: {response.text}"
        error = response.json()
        message = error["errors"][0]["message"] if row.path == GRAPHQL else error["detail"]
        assert f"`{row.permission}`" in message, name_of(row)
    assert await shared_resources.list_all() == before


async def test_a_key_is_required(shared_resources: Resources) -> None:
    before = await shared_resources.list_all()
    async with httpx.AsyncClient(base_url=shared_resources.broker.url) as client:
        for row in ROWS:
            path = row.path.format(**shared_resources.names)
            response = await client.request(row.method, path, json=row.body)
            assert response.status_code == 401, name_of(row)
    assert await shared_resources.list_all() == before


async def test_a_resource_of_another_tenant_does_not_exist(shared_resources: Resources, stranger: Api) -> None:
    before = await shared_resources.list_all()
    for row in ROWS:
        if row.foreign is None:
            continue
        response = await shared_resources.call(stranger, row)
        assert response.status_code == row.foreign, f"{name_of(row)}: {response.text}"
        hidden = [name for key, name in shared_resources.names.items() if f"{{{key}}}" not in row.path]
        assert all(name not in response.text for name in hidden), name_of(row)
    assert await shared_resources.list_all() == before


async def test_a_list_shows_nothing_of_another_tenant(shared_resources: Resources, stranger: Api) -> None:
    for row in ROWS:
        if row.foreign is not None or row.method != "GET":
            continue
        response = await shared_resources.call(stranger, row)
        assert response.status_code == 200, name_of(row)
        hidden = [name for name in shared_resources.names.values() if name != "user-1"]
        assert all(name not in response.text for name in (*hidden, shared_resources.owner.tenant)), name_of(row)


async def test_a_mutation_needs_its_own_permission(resources: Resources, sign_up: ApiFactory) -> None:
    mutation = "mutation { testUserTriggerSimulatedReauthorization }"
    reader = await sign_up(tenant=resources.owner.tenant, permissions=["graphql:query"])
    assert (await reader.query(resources.names["connection_id"], mutation)).status_code == 403
    writer = await sign_up(tenant=resources.owner.tenant, permissions=["graphql:mutate"])
    assert (await writer.query(resources.names["connection_id"], mutation)).status_code == 403
    both = await sign_up(tenant=resources.owner.tenant, permissions=["graphql:query", "graphql:mutate"])
    assert (await both.query(resources.names["connection_id"], mutation)).json()["data"]
