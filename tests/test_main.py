"""The application: startup, shutdown, and what it serves."""

import asyncio
from pathlib import Path

import httpx
import pytest
from pydantic import SecretStr
from starlette.types import ASGIApp, Message

from app.main import application, create_api, create_app
from app.settings import Settings
from sandbox.settings import CLIENT_ID, CLIENT_SECRET
from tests.support.broker import ENCRYPTION_KEY, served, settings_for
from tests.support.logs import capture_logs
from tests.support.postgresql import Databases


async def lifespan_of(app: ASGIApp) -> list[Message]:
    """Start and stop an application. Returns the messages that it sent to the server."""
    sent: list[Message] = []
    received: list[Message] = [{"type": "lifespan.shutdown"}, {"type": "lifespan.startup"}]

    async def receive() -> Message:
        return received.pop()

    async def send(message: Message) -> None:
        sent.append(message)

    await app({"type": "lifespan"}, receive, send)
    return sent


async def test_the_application_starts_and_stops(bank_url: str, database_url: SecretStr, tmp_path: Path) -> None:
    with capture_logs() as logs:
        sent = await lifespan_of(create_app(settings_for(bank_url, database_url, tmp_path)))
    assert [message["type"] for message in sent] == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
    events = [line["event"] for line in logs.lines]
    assert [event for event in events if event in ("started", "stopping", "stopped")] == [
        "started",
        "stopping",
        "stopped",
    ]


async def test_a_failed_startup_gives_its_reason_in_one_line(
    bank_url: str, databases: Databases, tmp_path: Path
) -> None:
    async with databases.fresh(migrated=False) as url:
        [message] = await lifespan_of(create_app(settings_for(bank_url, url, tmp_path)))
    assert message == {
        "type": "lifespan.startup.failed",
        "message": "the broker cannot start: the database is empty; run `broker migrate` first",
    }


async def test_an_invalid_key_file_is_reported_without_its_content(
    bank_url: str, database_url: SecretStr, tmp_path: Path
) -> None:
    file = tmp_path / "key.pem"
    file.write_text("planted-secret")
    settings = settings_for(
        bank_url, database_url, tmp_path, stitch_client_auth="private_key_jwt", stitch_private_key_file=file
    )
    [message] = await lifespan_of(create_app(settings))
    assert message["type"] == "lifespan.startup.failed"
    assert "planted-secret" not in message["message"]
    assert "\n" not in message["message"]


async def test_a_crash_at_startup_is_reported_without_the_exceptions_message(
    monkeypatch: pytest.MonkeyPatch, bank_url: str, database_url: SecretStr, tmp_path: Path
) -> None:
    def crash(*_: object) -> None:
        raise ZeroDivisionError("planted-value")

    monkeypatch.setattr("app.main.open_runtime", crash)
    with capture_logs() as logs:
        [message] = await lifespan_of(create_app(settings_for(bank_url, database_url, tmp_path)))
    assert message["type"] == "lifespan.startup.failed"
    assert logs.with_event("startup_crashed")[0]["exception"][0]["type"] == "builtins.ZeroDivisionError"
    assert "planted-value" not in logs.text + message["message"]


async def test_workers_read_the_environment(
    monkeypatch: pytest.MonkeyPatch, bank_url: str, database_url: SecretStr, tmp_path: Path
) -> None:
    settings = {
        "DATABASE_URL": database_url.get_secret_value(),
        "DATA_DIR": str(tmp_path),
        "PUBLIC_URL": "http://127.0.0.1:8000",
        "STITCH_ISSUER": bank_url,
        "STITCH_CLIENT_ID": CLIENT_ID,
        "STITCH_CLIENT_SECRET": CLIENT_SECRET,
        "ENCRYPTION_KEYS": f"test:{ENCRYPTION_KEY}",
    }
    for name, value in settings.items():
        monkeypatch.setenv(f"BROKER_{name}", value)
    with capture_logs():
        sent = await lifespan_of(application())
    assert sent[0]["type"] == "lifespan.startup.complete"


async def test_metrics_are_served_on_their_own_port_only(
    bank_url: str, database_url: SecretStr, tmp_path: Path
) -> None:
    server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    settings = settings_for(bank_url, database_url, tmp_path, metrics_port=port)
    [message] = await lifespan_of(create_app(settings))
    assert message["type"] == "lifespan.startup.failed"
    assert "BROKER_METRICS_PORT" in message["message"]
    server.close()
    await server.wait_closed()
    async with served(settings) as broker, httpx.AsyncClient() as client:
        assert (await client.get(f"{broker.url}/metrics")).status_code == 404
        assert "broker_" in (await client.get(f"http://127.0.0.1:{port}/metrics")).text


def test_the_document_contains_metrics_only_if_they_are_served_here() -> None:
    assert "/metrics" in create_api().openapi()["paths"]
    assert "/metrics" not in create_api(with_metrics=False).openapi()["paths"]


async def test_a_websocket_is_rejected(bank_url: str, database_url: SecretStr, tmp_path: Path) -> None:
    settings: Settings = settings_for(bank_url, database_url, tmp_path)
    async with served(settings) as broker, httpx.AsyncClient() as client:
        response = await client.get(
            f"{broker.url}/v1/connections/x/graphql",
            headers={
                "connection": "upgrade",
                "upgrade": "websocket",
                "sec-websocket-version": "13",
                "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
            },
        )
        assert 400 <= response.status_code < 500
        assert (await client.get(f"{broker.url}/healthz")).status_code == 200
