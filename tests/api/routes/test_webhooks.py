"""`/v1/webhooks`: events reach a receiver that checks signatures with the reference library."""

import json
from typing import Any

import pytest
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from app.store.postgresql.database_time import seconds_from_now
from app.webhooks.service import MAX_WEBHOOKS
from sandbox.client import SandboxClient
from tests.api.conftest import ApiFactory, BrokerFactory
from tests.support.broker import Api, Broker, Browser
from tests.support.error_responses import assert_problem
from tests.support.eventually import eventually
from tests.support.hostile import HostileServer, json_reply
from tests.support.journey import go_to_bank, log_in

EVENTS = "/events"


@pytest.fixture
async def webhook(api: Api, hostile: HostileServer) -> dict[str, Any]:
    """A webhook of `api` for all events, with its secret."""
    hostile.replies[EVENTS] = json_reply({})
    return await create(api, f"{hostile.url}{EVENTS}")


async def create(api: Api, url: str, **more: Any) -> dict[str, Any]:
    """Create a webhook."""
    response = await api.post("/v1/webhooks", json={"url": url, **more})
    assert response.status_code == 201, response.text
    assert response.headers["cache-control"] == "no-store"
    created: dict[str, Any] = response.json()
    assert response.headers["location"] == f"/v1/webhooks/{created['id']}"
    return created


async def arrived(hostile: HostileServer, secret: str, count: int) -> list[dict[str, Any]]:
    """Return the events that the receiver has accepted, once there are `count`."""

    async def have_arrived() -> bool:
        return hostile.count(EVENTS) >= count

    await eventually(have_arrived)
    return [Webhook(secret).verify(body, headers) for path, headers, body in hostile.received if path == EVENTS]


async def deliveries(api: Api, webhook: dict[str, Any], status: str, count: int = 1) -> list[dict[str, Any]]:
    """Return the deliveries of this status, once there are `count`."""

    async def matching() -> list[dict[str, Any]]:
        page = await api.get(f"/v1/webhooks/{webhook['id']}/deliveries", params={"status": status})
        items: list[dict[str, Any]] = page.json()["items"]
        return items if len(items) == count else []

    return await eventually(matching)


async def test_a_login_is_sent(
    *, api: Api, bank: SandboxClient, browser: Browser, hostile: HostileServer, webhook: dict[str, Any]
) -> None:
    session, _ = await log_in(api, bank, browser, metadata={"order": "planted"})
    [event] = await arrived(hostile, webhook["secret"], 1)
    assert event == {
        "type": "session.completed",
        "timestamp": event["timestamp"],
        "data": {
            "session_id": session["id"],
            "connection_id": session["connection_id"],
            "user_id": "user-1",
            "error": None,
        },
    }
    [delivery] = await deliveries(api, webhook, "delivered")
    [(_, headers, _)] = hostile.received
    assert delivery["id"] == headers["webhook-id"]
    assert delivery["data"] == event["data"]
    assert (delivery["attempts"], delivery["last_status"], delivery["next_attempt_at"]) == (1, 200, None)


async def test_unsuccessful_logins_are_sent(
    *,
    broker: Broker,
    api: Api,
    bank: SandboxClient,
    browser: Browser,
    other_browser: Browser,
    hostile: HostileServer,
    webhook: dict[str, Any],
) -> None:
    cancelled = await api.start()
    await api.delete(f"/v1/sessions/{cancelled['id']}")
    declined = await api.start()
    await browser.open(await go_to_bank(bank, browser, declined, decision="cancel"))
    await bank.set_faults(token={"error": "invalid_grant"})
    failed, _ = await log_in(api, bank, other_browser)
    expired = await api.start()
    await broker.rows.change_session(expired["id"], expires_at=seconds_from_now(-1))
    # Reading the session does not send the event a second time.
    assert (await api.session(expired["id"]))["status"] == "expired"
    events = {event["data"]["session_id"]: event for event in await arrived(hostile, webhook["secret"], 4)}
    assert {session_id: (event["type"], event["data"]["error"]) for session_id, event in events.items()} == {
        cancelled["id"]: ("session.cancelled", None),
        declined["id"]: ("session.cancelled", None),
        failed["id"]: ("session.failed", "invalid_grant"),
        expired["id"]: ("session.expired", None),
    }


async def test_the_events_of_a_connection_are_sent_in_order(
    *, api: Api, bank: SandboxClient, browser: Browser, hostile: HostileServer, webhook: dict[str, Any]
) -> None:
    session, _ = await log_in(api, bank, browser)
    connection_id = session["connection_id"]
    path = f"/v1/connections/{connection_id}"
    assert (await api.post(f"{path}/refresh")).status_code == 200
    await bank.control("revoke-consent", sub=await bank.sub_of("thandi"))
    assert_problem(await api.post(f"{path}/refresh"), 409, "reauthorization_required")
    await log_in(api, bank, browser, connection_id=connection_id)
    assert (await api.delete(path)).status_code == 204
    events = await arrived(hostile, webhook["secret"], 6)
    assert [(event["type"], event["data"].get("version"), event["data"].get("reason")) for event in events] == [
        ("session.completed", None, None),
        ("connection.refreshed", 2, None),
        ("connection.reauthorization_required", 2, "invalid_grant"),
        ("connection.recovered", 3, None),
        ("session.completed", None, None),
        ("connection.revoked", 3, "disconnected"),
    ]
    for event in events:
        assert event["data"]["connection_id"] == connection_id
        assert event["data"]["user_id"] == "user-1"
        allowed = {"connection_id", "session_id", "user_id", "version", "reason", "error"}
        assert event["data"].keys() <= allowed


async def test_only_the_selected_events_are_sent(api: Api, hostile: HostileServer) -> None:
    hostile.replies[EVENTS] = json_reply({})
    await create(api, f"{hostile.url}/other", events=["session.completed"])
    selected = await create(api, f"{hostile.url}{EVENTS}", events=["session.expired", "session.cancelled"])
    assert selected["events"] == ["session.cancelled", "session.expired"]
    await api.delete(f"/v1/sessions/{(await api.start())['id']}")
    assert [event["type"] for event in await arrived(hostile, selected["secret"], 1)] == ["session.cancelled"]
    assert hostile.count("/other") == 0


async def test_events_of_another_tenant_are_not_sent(
    api: Api, stranger: Api, hostile: HostileServer, webhook: dict[str, Any]
) -> None:
    await stranger.delete(f"/v1/sessions/{(await stranger.start())['id']}")
    mine = await api.start()
    await api.delete(f"/v1/sessions/{mine['id']}")
    [event] = await arrived(hostile, webhook["secret"], 1)
    assert event["data"]["session_id"] == mine["id"]


async def test_a_secret_is_shown_once_and_rotated_without_a_gap(
    api: Api, hostile: HostileServer, webhook: dict[str, Any]
) -> None:
    old = webhook["secret"]
    shown = [await api.get("/v1/webhooks"), await api.get(f"/v1/webhooks/{webhook['id']}")]
    assert all(old not in response.text and "secret" not in response.json() for response in shown)
    rotated = (await api.post(f"/v1/webhooks/{webhook['id']}/secret")).json()
    assert rotated["previous_secret_until"] is not None
    await api.delete(f"/v1/sessions/{(await api.start())['id']}")
    for secret in (old, rotated["secret"]):
        assert await arrived(hostile, secret, 1)
    again = (await api.post(f"/v1/webhooks/{webhook['id']}/secret")).json()
    hostile.received.clear()
    await api.delete(f"/v1/sessions/{(await api.start())['id']}")
    for secret in (rotated["secret"], again["secret"]):
        assert await arrived(hostile, secret, 1)
    with pytest.raises(WebhookVerificationError):
        await arrived(hostile, old, 1)


async def test_a_delivery_can_be_sent_early_and_again(
    api: Api, hostile: HostileServer, webhook: dict[str, Any]
) -> None:
    hostile.replies[EVENTS] = json_reply({}, 500, retry_after="3600")
    await api.delete(f"/v1/sessions/{(await api.start())['id']}")
    await arrived(hostile, webhook["secret"], 1)

    async def has_failed() -> bool:
        [pending] = await deliveries(api, webhook, "pending")
        return (pending["last_error"], pending["last_status"]) == ("refused", 500)

    await eventually(has_failed)
    [pending] = await deliveries(api, webhook, "pending")
    assert pending["next_attempt_at"] > pending["last_attempt_at"]
    hostile.replies[EVENTS] = json_reply({})
    path = f"/v1/webhooks/{webhook['id']}/deliveries/{pending['id']}/redeliver"
    assert (await api.post(path)).status_code == 202
    [delivered] = await deliveries(api, webhook, "delivered")
    assert (delivered["id"], delivered["attempts"]) == (pending["id"], 2)
    assert (await api.post(path)).json()["status"] == "pending"
    await arrived(hostile, webhook["secret"], 3)
    assert len({headers["webhook-id"] for _, headers, _ in hostile.received}) == 1
    assert_problem(await api.post(path.replace("evt_", "evt_0")), 404, "delivery_not_found")


async def test_a_deleted_webhook_does_not_exist(api: Api, webhook: dict[str, Any]) -> None:
    path = f"/v1/webhooks/{webhook['id']}"
    assert (await api.delete(path)).status_code == 204
    for response in (await api.get(path), await api.get(f"{path}/deliveries"), await api.delete(path)):
        assert_problem(response, 404, "webhook_not_found")
    assert (await api.get("/v1/webhooks")).json()["items"] == []


@pytest.mark.parametrize(
    "url",
    [
        *("http://hooks.example.com/", "ftp://hooks.example.com/", "hooks.example.com", "https://"),
        *("https://user:secret@hooks.example.com/", "https://hooks.example.com:99999/"),
        *("https://10.0.0.1/", "https://169.254.169.254/latest", "https://[::1]/", "https://2886729729/"),
    ],
)
async def test_a_url_that_must_not_be_called_is_rejected(api: Api, url: str) -> None:
    assert_problem(await api.post("/v1/webhooks", json={"url": url}), 422, "webhook_url_not_allowed")


async def test_loopback_is_rejected_unless_it_is_allowed(
    brokers: BrokerFactory, sign_up: ApiFactory, hostile: HostileServer
) -> None:
    api = await sign_up(broker=await brokers(webhook_private_networks=()))
    refused = await api.post("/v1/webhooks", json={"url": f"{hostile.url}{EVENTS}"})
    problem = assert_problem(refused, 422, "webhook_url_not_allowed")
    assert "BROKER_WEBHOOK_PRIVATE_NETWORKS" in problem["detail"]


@pytest.mark.parametrize("space", ["\r\n", "\t", " ", "\x7f", "\u00a0"])
async def test_a_url_with_whitespace_is_rejected(api: Api, space: str) -> None:
    for url in (
        f"https://hooks.example.com/a{space}b",
        f"{space}https://hooks.example.com/",
        f"https://hooks.example.com/{space}",
    ):
        refused = await api.post("/v1/webhooks", json={"url": url})
        assert "spaces" in assert_problem(refused, 422, "webhook_url_not_allowed")["detail"]


async def test_an_unknown_event_is_rejected(api: Api) -> None:
    refused = await api.post("/v1/webhooks", json={"url": "https://hooks.example.com/", "events": ["session.begun"]})
    assert "session.completed" in assert_problem(refused, 422, "invalid_request")["detail"]


async def test_the_webhooks_of_a_tenant_are_limited(api: Api, stranger: Api) -> None:
    for _ in range(MAX_WEBHOOKS):
        await create(api, "http://127.0.0.1:9/")
    refused = await api.post("/v1/webhooks", json={"url": "http://127.0.0.1:9/"})
    assert_problem(refused, 409, "too_many_webhooks")
    await create(stranger, "http://127.0.0.1:9/")


async def test_changes_of_webhooks_are_in_the_audit_log(api: Api, webhook: dict[str, Any]) -> None:
    path = f"/v1/webhooks/{webhook['id']}"
    await api.delete(f"/v1/sessions/{(await api.start())['id']}")
    [delivery] = await deliveries(api, webhook, "delivered")
    await api.post(f"{path}/deliveries/{delivery['id']}/redeliver")
    await api.post(f"{path}/secret")
    await api.delete(path)
    events = (await api.get("/v1/audit?limit=200")).json()["items"]
    changes = [event for event in events if event["action"].startswith("webhook.")]
    detail = {"webhook_id": webhook["id"]}
    assert [(event["action"], event["detail"]) for event in changes] == [
        ("webhook.created", detail),
        ("webhook.redelivered", {**detail, "delivery_id": delivery["id"]}),
        ("webhook.secret_rotated", detail),
        ("webhook.deleted", detail),
    ]
    assert all(event["actor"] == api.caller.id for event in changes)
    assert "whsec_" not in json.dumps(events)
