"""`/v1/audit` lists the events of a tenant, oldest first."""

import pytest

from sandbox.client import SandboxClient
from tests.support.broker import Api, Browser
from tests.support.error_responses import assert_problem
from tests.support.journey import log_in


async def test_a_journey_is_recorded_oldest_first(api: Api, bank: SandboxClient, browser: Browser) -> None:
    session, _ = await log_in(api, bank, browser)
    connection_id = session["connection_id"]
    await api.post(f"/v1/connections/{connection_id}/refresh")
    await api.delete(f"/v1/connections/{connection_id}")
    events = (await api.get("/v1/audit")).json()["items"]
    assert [event["action"] for event in events] == [
        *("caller.created", "key.created", "session.started", "connection.linked"),
        *("connection.refreshed", "connection.revoked"),
    ]
    assert [event["position"] for event in events] == [1, 2, 3, 4, 5, 6]
    for event in events:
        # Without the row's id, which would show how much other tenants do.
        assert event.keys() == {
            *("position", "occurred_at", "actor", "action", "session_id", "connection_id", "request_id"),
            *("detail", "hash"),
        }
    started = events[2]
    assert (started["actor"], started["session_id"]) == (api.caller.id, session["id"])
    assert started["request_id"].startswith("req_")
    of_connection = (await api.get(f"/v1/audit?connection_id={connection_id}")).json()["items"]
    assert of_connection == events[3:]


async def test_an_event_has_the_id_of_its_request(api: Api) -> None:
    await api.post("/v1/sessions", json={"user_id": "u"}, headers={"x-request-id": "trace-42"})
    assert (await api.get("/v1/audit")).json()["items"][-1]["request_id"] == "trace-42"


async def test_each_event_is_on_one_page(api: Api) -> None:
    for _ in range(3):
        await api.start()
    everything = (await api.get("/v1/audit")).json()["items"]
    seen = []
    query = {"limit": "2"}
    while True:
        page = (await api.get("/v1/audit", params=query)).json()
        seen += page["items"]
        if page["next_cursor"] is None:
            break
        query["cursor"] = page["next_cursor"]
    assert seen == everything
    assert len(seen) == 5


async def test_events_of_another_tenant_are_not_shown(api: Api, stranger: Api, connection_id: str) -> None:
    await api.delete(f"/v1/connections/{connection_id}")
    assert (await stranger.get(f"/v1/audit?connection_id={connection_id}")).json()["items"] == []
    assert {event["action"] for event in (await stranger.get("/v1/audit")).json()["items"]} == {
        "caller.created",
        "key.created",
    }


@pytest.mark.parametrize("cursor", ["nonsense", "LTE", "OTk5OTk5OTk5OTk5OTk5OTk5OTk5", "é", "MV8w", "IDEg"])
async def test_an_invalid_cursor_is_rejected(api: Api, cursor: str) -> None:
    response = await api.get("/v1/audit", params={"cursor": cursor})
    if response.status_code != 200:
        assert_problem(response, 400, "invalid_cursor")
    assert response.status_code == 400 or cursor in ("MV8w", "IDEg")


@pytest.mark.parametrize("query", ["limit=0", "limit=201", "connection_id=%00"])
async def test_an_invalid_filter_is_rejected(api: Api, query: str) -> None:
    assert_problem(await api.get(f"/v1/audit?{query}"), 422, "invalid_request")
