"""Errors of all calls but queries are problem documents (RFC 9457)."""

import re
from collections.abc import AsyncIterator

import pytest
from pydantic import SecretStr

from app.login.sessions import LoginSessions
from tests.api.conftest import ApiFactory, BrokerFactory
from tests.support.broker import Api, Broker
from tests.support.error_responses import assert_problem
from tests.support.logs import Logs
from tests.support.relay import Relay

FIELDS = {"type", "title", "status", "detail", "code", "request_id"}


async def test_a_problem_has_the_fields_of_the_contract(api: Api) -> None:
    problem = assert_problem(await api.get("/v1/sessions/ses_unknown"), 404, "session_not_found")
    assert problem.keys() == FIELDS


class TestRequestId:
    @pytest.mark.parametrize("given", ["trace-42", "A.b_c:d-9", "x" * 64])
    async def test_a_well_formed_id_is_kept(self, api: Api, given: str, logs: Logs) -> None:
        response = await api.get("/v1/sessions/ses_unknown", headers={"x-request-id": given})
        assert response.headers["x-request-id"] == response.json()["request_id"] == given
        assert [line["request_id"] for line in await logs.access_lines(1)] == [given]

    @pytest.mark.parametrize("given", ["", "x" * 65, "two words", "a,b", 'a"b', "<script>", "é"])
    async def test_a_malformed_id_is_replaced(self, api: Api, given: str) -> None:
        response = await api.get("/v1/sessions/ses_unknown", headers=[(b"x-request-id", given.encode())])
        created = response.headers["x-request-id"]
        assert re.fullmatch(r"req_[0-9a-f]+", created)
        assert response.json()["request_id"] == created
        assert created != given

    async def test_each_request_has_its_own_id(self, api: Api) -> None:
        responses = [await api.get("/healthz") for _ in range(3)]
        assert len({response.headers["x-request-id"] for response in responses}) == 3

    async def test_a_successful_response_has_the_id_too(self, api: Api) -> None:
        response = await api.get("/v1/connections", headers={"x-request-id": "trace-42"})
        assert response.headers.get_list("x-request-id") == ["trace-42"]


class TestFramework:
    @pytest.mark.parametrize("path", ["/v1", "/v1/nothing", "/v1/sessions/a/b/c", "/%00", "/callback/x"])
    async def test_an_unknown_path(self, api: Api, path: str) -> None:
        assert_problem(await api.get(path), 404, "not_found")

    @pytest.mark.parametrize(
        ("method", "path", "allowed"),
        [
            ("PUT", "/v1/sessions", "GET, HEAD, POST"),
            ("PATCH", "/v1/connections/x", "DELETE, GET, HEAD"),
            ("POST", "/healthz", "GET, HEAD"),
            ("DELETE", "/v1/connections", "GET, HEAD"),
            ("OPTIONS", "/v1/callers/x/keys", "GET, HEAD, POST"),
        ],
    )
    async def test_a_method_that_is_not_allowed(self, api: Api, method: str, path: str, allowed: str) -> None:
        response = await api.request(method, path)
        assert_problem(response, 405, "method_not_allowed")
        assert response.headers["allow"] == allowed

    async def test_an_unknown_method(self, api: Api, logs: Logs) -> None:
        assert_problem(await api.request("PROPFIND", "/v1/sessions"), 405, "method_not_allowed")
        assert (await logs.access_lines(1))[0]["method"] == "other"

    @pytest.mark.parametrize("body", [b"{", b"", b"nonsense", b"[1, 2", b"null", b"7", b'"text"', b"[]", b"\xff"])
    async def test_a_body_that_is_not_an_object(self, api: Api, body: bytes) -> None:
        response = await api.post("/v1/sessions", content=body, headers={"content-type": "application/json"})
        assert response.status_code in (400, 422)
        assert_problem(response, response.status_code, response.json()["code"])

    async def test_a_body_of_another_media_type(self, api: Api) -> None:
        response = await api.post("/v1/sessions", data={"user_id": "user-1"})
        assert_problem(response, 422, "invalid_request")

    async def test_a_body_that_is_too_large(self, api: Api) -> None:
        body = b'{"user_id": "user-1", "metadata": {"a": "' + b"x" * 70_000 + b'"}}'
        response = await api.post("/v1/sessions", content=body, headers={"content-type": "application/json"})
        assert_problem(response, 413, "request_too_large")

    async def test_a_body_that_is_too_large_and_has_no_content_length(self, api: Api) -> None:
        async def chunks() -> AsyncIterator[bytes]:
            for _ in range(10):
                yield b" " * 10_000

        response = await api.post(
            "/v1/sessions",
            content=chunks(),
            headers={"content-type": "application/json"},
        )
        assert_problem(response, 413, "request_too_large")

    async def test_a_large_body_of_a_get_request_does_no_harm(self, api: Api) -> None:
        response = await api.request("GET", "/healthz", content=b"x" * 100_000)
        assert response.status_code in (200, 413)


class TestConfidentiality:
    @pytest.mark.parametrize(
        ("path", "body"),
        [
            ("/v1/sessions", {"user_id": ["planted-value"]}),
            ("/v1/sessions", {"user_id": "u", "scopes": ["planted-value planted-value"]}),
            ("/v1/sessions", {"user_id": "u", "metadata": "planted-value"}),
            ("/v1/sessions", {"user_id": "u", "return_url": "https://evil.example/planted-value"}),
            ("/v1/sessions", {"user_id": "u", "unknown": "planted-value"}),
            ("/v1/sessions", {"user_id": "u", "metadata": {"planted-value": "x" * 5_000}}),
            ("/v1/sessions/ses_1/confirm", {"confirmation_code": {"a": "planted-value"}}),
            ("/v1/sessions/ses_1/confirm", {"confirmation_code": "planted-value" + "x" * 200}),
            ("/v1/callers", {"name": "n", "permissions": ["planted-value"]}),
        ],
    )
    async def test_an_error_says_what_is_wrong_but_does_not_repeat_the_value(
        self, api: Api, logs: Logs, path: str, body: dict[str, object]
    ) -> None:
        response = await api.post(path, json=body)
        assert response.status_code == 422
        assert "planted-value" not in response.text
        assert "planted-value" not in logs.text

    async def test_json_that_does_not_parse_is_not_quoted(self, api: Api, logs: Logs) -> None:
        response = await api.post(
            "/v1/sessions", content=b'{"user_id": "planted-value', headers={"content-type": "application/json"}
        )
        assert response.status_code in (400, 422)
        assert "planted-value" not in response.text
        assert "planted-value" not in logs.text


class TestUnreachableDatabase:
    async def test_every_call_says_when_to_retry(
        self, brokers: BrokerFactory, sign_up: ApiFactory, relay: Relay
    ) -> None:
        broker = await brokers(database_url=relay.url)
        api = await sign_up(broker=broker)
        assert (await api.get("/v1/connections")).status_code == 200
        await relay.cut()
        for method, path in (("GET", "/v1/connections"), ("POST", "/v1/sessions"), ("DELETE", "/v1/users/u")):
            response = await api.request(method, path, json={"user_id": "u"} if method == "POST" else None)
            assert_problem(response, 503, "database_unavailable")
            assert response.headers["retry-after"] == "1"
        async with broker.new_browser() as browser:
            for path in ("/connect/unknown", "/callback?state=unknown&code=c"):
                shown = await browser.get(path)
                assert shown.status_code == 503
                assert shown.headers["content-type"].startswith("text/html")
                assert "try again" in shown.text
        assert (await api.get("/healthz")).status_code == 200
        await relay.restore()
        assert (await api.get("/v1/connections")).status_code == 200


class TestInternalError:
    async def test_the_response_has_no_details_and_the_log_has_the_exception(
        self, api: Api, monkeypatch: pytest.MonkeyPatch, logs: Logs
    ) -> None:
        async def crash(*_: object, **__: object) -> None:
            raise ZeroDivisionError("planted-value")

        monkeypatch.setattr(LoginSessions, "page", crash)
        problem = assert_problem(await api.get("/v1/sessions"), 500, "internal_error")
        assert "planted-value" not in str(problem)
        assert "planted-value" not in logs.text
        [line] = logs.with_event("request_crashed")
        assert line["exception"][0]["type"] == "builtins.ZeroDivisionError"
        assert line["request_id"] == problem["request_id"]
        assert [line["status"] for line in await logs.access_lines(1)] == [500]


async def test_the_body_limit_is_a_setting(brokers: BrokerFactory, sign_up: ApiFactory) -> None:
    broker: Broker = await brokers(max_body_bytes=1_024)
    api = await sign_up(broker=broker)
    body = {"user_id": "u", "metadata": {"a": "x" * 1_024}}
    assert_problem(await api.post("/v1/sessions", json=body), 413, "request_too_large")


async def test_settings_do_not_print_their_secrets(broker: Broker) -> None:
    shown = repr(broker.settings) + str(broker.settings.model_dump())
    secret = broker.settings.stitch_client_secret
    assert isinstance(secret, SecretStr)
    for value in (secret, broker.settings.encryption_keys):
        assert value.get_secret_value() not in shown


async def test_invalid_json_is_reported_with_its_position(api: Api) -> None:
    response = await api.post("/v1/sessions", content='{"user_id": ', headers={"content-type": "application/json"})
    assert "after 12 characters" in assert_problem(response, 400, "invalid_json")["detail"]


async def test_a_body_with_the_wrong_media_type_is_told_the_right_one(api: Api) -> None:
    response = await api.post("/v1/sessions", content='{"user_id": "user-1"}', headers={"content-type": "text/plain"})
    assert "Content-Type: application/json" in assert_problem(response, 422, "invalid_request")["detail"]


@pytest.mark.parametrize("path", ["/docs", "/openapi.json", "/static/docs.css"])
async def test_a_page_allows_only_reading(api: Api, path: str) -> None:
    response = await api.delete(path)
    assert (response.status_code, "GET" in response.headers["allow"]) == (405, True)
