"""`/v1/sessions`: starting a login, listing, cancelling."""

import asyncio
import re
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

import pytest

from app.store.postgresql.database_time import seconds_from_now
from sandbox.client import SandboxClient
from sandbox.settings import CLIENT_ID
from tests.api.conftest import ApiFactory, BrokerFactory
from tests.support.answers import assert_problem
from tests.support.broker import PUBLIC_URL, Api, Broker, Browser
from tests.support.eventually import eventually
from tests.support.journey import go_to_bank, parameters_of

FIELDS = {
    *("id", "status", "user_id", "scopes", "authorization_url", "connect_url", "return_url", "connection_id"),
    *("error", "metadata", "created_at", "expires_at", "ended_at"),
}


async def test_a_new_session_has_every_field_and_an_address(api: Api, bank: SandboxClient) -> None:
    answer = await api.post(
        "/v1/sessions",
        json={
            "user_id": "user-7",
            "scopes": ["openid", "accounts"],
            "return_url": "https://shop.example/done",
            "metadata": {"order": "1001", "nested": {"deep": [1, 2.5, None, True]}, "numbers": [0, 2**53, -1e-15]},
        },
    )
    session = answer.json()
    assert answer.status_code == 201
    assert answer.headers["location"] == f"/v1/sessions/{session['id']}"
    assert answer.headers["cache-control"] == "no-store"
    assert session.keys() == FIELDS
    assert session["status"] == "pending"
    assert session["user_id"] == "user-7"
    assert session["scopes"] == ["openid", "accounts"]
    assert session["return_url"] == "https://shop.example/done"
    assert session["metadata"] == {
        "order": "1001",
        "nested": {"deep": [1, 2.5, None, True]},
        "numbers": [0, 2**53, -1e-15],
    }
    assert session["connection_id"] is session["error"] is session["ended_at"] is None
    assert (await api.get(answer.headers["location"])).json() == session


async def test_times_are_rfc_3339_in_utc(api: Api) -> None:
    session = await api.start()
    for name in ("created_at", "expires_at"):
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", session[name])
    created_at, expires_at = (datetime.fromisoformat(session[name]) for name in ("created_at", "expires_at"))
    assert expires_at - created_at == timedelta(seconds=900)
    assert abs(datetime.now(UTC) - created_at) < timedelta(minutes=5)


async def test_the_authorization_url_is_what_stitch_documents(api: Api, bank_url: str) -> None:
    url = (await api.start(scopes=["openid", "accounts", "offline_access"]))["authorization_url"]
    assert url.startswith(f"{bank_url}/connect/authorize?")
    parameters = parameters_of(url)
    secrets = {name: parameters.pop(name) for name in ("state", "nonce", "code_challenge")}
    assert parameters == {
        "client_id": CLIENT_ID,
        "scope": "openid accounts offline_access",
        "response_type": "code",
        "redirect_uri": f"{PUBLIC_URL}/callback",
        "code_challenge_method": "S256",
    }
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{43}", value) for value in secrets.values())
    assert len(set(secrets.values())) == 3
    assert "scope=openid%20accounts%20offline_access" in urlsplit(url).query


async def test_no_two_sessions_share_a_secret(api: Api) -> None:
    first, second = await api.start(), await api.start()
    for name in ("state", "nonce", "code_challenge"):
        assert parameters_of(first["authorization_url"])[name] != parameters_of(second["authorization_url"])[name]
    assert first["connect_url"] != second["connect_url"]


async def test_the_secrets_of_a_login_are_in_no_answer_but_its_url(api: Api) -> None:
    answer = await api.post("/v1/sessions", json={"user_id": "user-1"})
    parameters = parameters_of(answer.json()["authorization_url"])
    without_url = answer.text.replace(answer.json()["authorization_url"], "")
    for name in ("state", "nonce", "code_challenge"):
        assert parameters[name] not in without_url
        assert parameters[name] not in str(answer.headers)


async def test_the_connect_url_is_below_the_public_url(api: Api) -> None:
    assert re.fullmatch(rf"{PUBLIC_URL}/connect/[A-Za-z0-9_-]{{43}}", (await api.start())["connect_url"])


async def test_the_configured_scopes_are_asked_for_by_default(api: Api) -> None:
    session = await api.start()
    assert session["scopes"] == ["openid", "accounts", "balances", "transactions", "offline_access"]
    assert parameters_of(session["authorization_url"])["scope"].split() == session["scopes"]


async def test_openid_is_asked_for_even_if_it_was_forgotten(api: Api) -> None:
    assert (await api.start(scopes=["accounts", "accounts"]))["scopes"] == ["openid", "accounts"]


@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("user_id", ""),
        ("user_id", None),
        ("user_id", "x" * 256),
        ("user_id", "nul\x00"),
        ("user_id", 7),
        ("scopes", ["two words"]),
        ("scopes", ['quo"te']),
        ("scopes", "openid"),
        ("scopes", ["x"] * 31),
        ("return_url", "x" * 2_001),
        ("connection_id", ""),
        ("require_confirmation", "perhaps"),
        ("metadata", {"large": "x" * 4_097}),
        ("metadata", {"nul": "\x00"}),
        ("metadata", ["a list"]),
        ("metadata", {"large": [1e300]}),
        ("metadata", {"large": {"whole": -(2**53) - 1}}),
        ("metadata", {"small": 1e-300}),
        ("unknown_member", True),
    ],
)
async def test_a_session_that_cannot_be_is_refused(api: Api, member: str, value: object) -> None:
    answer = await api.post("/v1/sessions", json={"user_id": "user-1", member: value})
    problem = assert_problem(answer, 422, "invalid_request")
    assert problem["errors"][0]["location"].startswith(f"body.{member}")


@pytest.mark.parametrize(
    "body",
    [
        b'{"user_id": "\\ud800"}',
        b'{"user_id": "user-1", "metadata": {"a": NaN}}',
        b'{"user_id": "user-1", "metadata": {"a": -Infinity}}',
        b'{"user_id": "user-1", "metadata": {"a": "\\ud800"}}',
        b'{"user_id": "user-1", "metadata": {"\\udfff": 1}}',
        b'{"user_id": "user-1", "scopes": ["\\ud800"]}',
        b'{"user_id": "user-1", "return_url": "https://shop.example/below/\\ud800"}',
        b'{"user_id": "user-1", "connection_id": "\\ud800"}',
        b'{"user_id": "user-1", "metadata": {"a": ' + b"[" * 1_500 + b"]" * 1_500 + b"}}",
        b'{"user_id": "user-1", "metadata": {"a": 1' + b"0" * 400 + b"}}",
    ],
    ids=lambda body: body[:60].decode(),
)
async def test_json_that_the_database_cannot_hold_is_the_callers_fault(api: Api, body: bytes) -> None:
    answer = await api.post("/v1/sessions", content=body, headers={"content-type": "application/json"})
    assert answer.status_code in (201, 400, 422), answer.text
    if answer.status_code != 201:
        assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    "url",
    [
        "https://shop.example/done",
        "https://shop.example/below/",
        "https://shop.example/below/orders?id=7",
    ],
)
async def test_a_return_url_of_the_allow_list_is_taken(api: Api, url: str) -> None:
    assert (await api.start(return_url=url))["return_url"] == url


@pytest.mark.parametrize(
    "url",
    [
        "https://evil.example/done",
        "https://shop.example/done/more",
        "https://shop.example/done?x=1",
        "http://shop.example/done",
        "https://shop.example:8443/below/a",
        "https://shop.example/below",
        "https://shop.example/below/../admin",
        "https://shop.example/below/%2e%2e/admin",
        "https://shop.example/below/a\\..\\b",
        "https://shop.example@evil.example/below/a",
        "https://evil.example#https://shop.example/below/a",
        "https://shop.example.evil.example/below/a",
        "//shop.example/below/a",
        "javascript:alert(1)",
        "https://shop.example/below/a\nSet-Cookie: b=c",
        "",
    ],
)
async def test_a_return_url_beside_the_allow_list_is_refused(api: Api, url: str) -> None:
    answer = await api.post("/v1/sessions", json={"user_id": "user-1", "return_url": url})
    assert_problem(answer, 422, "return_url_not_allowed")


class TestIdempotencyKey:
    async def test_the_same_request_twice_gives_the_same_session(self, api: Api) -> None:
        headers = {"idempotency-key": "order-1001"}
        first, second = [await api.post("/v1/sessions", json={"user_id": "u"}, headers=headers) for _ in range(2)]
        assert first.status_code == second.status_code == 201
        assert first.json() == second.json()
        assert first.headers["location"] == second.headers["location"]

    async def test_another_request_with_the_same_key_is_refused(self, api: Api) -> None:
        headers = {"idempotency-key": "order-1001"}
        await api.post("/v1/sessions", json={"user_id": "one"}, headers=headers)
        answer = await api.post("/v1/sessions", json={"user_id": "two"}, headers=headers)
        assert_problem(answer, 422, "idempotency_key_reused")

    async def test_requests_at_once_make_one_session(self, api: Api) -> None:
        headers = {"idempotency-key": "order-1001"}
        answers = await asyncio.gather(
            *(api.post("/v1/sessions", json={"user_id": "u"}, headers=headers) for _ in range(10))
        )
        assert {answer.status_code for answer in answers} == {201}
        assert len({answer.json()["id"] for answer in answers}) == 1
        assert len((await api.get("/v1/sessions")).json()["items"]) == 1

    async def test_two_callers_keys_do_not_meet(self, api: Api, sign_up: ApiFactory) -> None:
        other = await sign_up(tenant=api.tenant)
        headers = {"idempotency-key": "order-1001"}
        first = await api.post("/v1/sessions", json={"user_id": "u"}, headers=headers)
        second = await other.post("/v1/sessions", json={"user_id": "u"}, headers=headers)
        assert first.json()["id"] != second.json()["id"]

    @pytest.mark.parametrize("key", ["", "x" * 256, "two words"])
    async def test_a_malformed_key_is_refused(self, api: Api, key: str) -> None:
        answer = await api.post("/v1/sessions", json={"user_id": "u"}, headers={"idempotency-key": key})
        assert_problem(answer, 422, "invalid_request")


class TestList:
    async def test_pages_give_each_session_once_the_newest_first(self, api: Api) -> None:
        made = [(await api.start())["id"] for _ in range(5)]
        seen: list[str] = []
        cursor: str | None = None
        pages = 0
        while True:
            query = {"limit": "2"} | ({"cursor": cursor} if cursor else {})
            page = (await api.get("/v1/sessions", params=query)).json()
            assert page.keys() == {"items", "next_cursor"}
            seen += [session["id"] for session in page["items"]]
            pages, cursor = pages + 1, page["next_cursor"]
            if cursor is None:
                break
        assert seen == made[::-1]
        assert pages == 3

    async def test_a_full_last_page_names_no_next_one(self, api: Api) -> None:
        for _ in range(2):
            await api.start()
        page = (await api.get("/v1/sessions?limit=2")).json()
        assert len(page["items"]) == 2
        assert page["next_cursor"] is None

    async def test_filters_choose_by_user_and_status(self, api: Api) -> None:
        mine, other = await api.start(user_id="mine"), await api.start(user_id="other")
        await api.delete(f"/v1/sessions/{mine['id']}")

        async def found(**query: str) -> list[str]:
            return [one["id"] for one in (await api.get("/v1/sessions", params=query)).json()["items"]]

        assert await found(user_id="mine") == [mine["id"]]
        assert await found(status="pending") == [other["id"]]
        assert await found(status="cancelled") == [mine["id"]]
        assert await found(user_id="mine", status="pending") == []

    async def test_items_are_the_sessions_themselves(self, api: Api) -> None:
        session = await api.start()
        answer = await api.get("/v1/sessions")
        assert answer.json() == {"items": [session], "next_cursor": None}
        assert answer.headers["cache-control"] == "no-store"

    @pytest.mark.parametrize("query", ["limit=0", "limit=201", "limit=many", "status=lost", "user_id=%00"])
    async def test_a_wrong_filter_is_refused(self, api: Api, query: str) -> None:
        assert_problem(await api.get(f"/v1/sessions?{query}"), 422, "invalid_request")

    @pytest.mark.parametrize(
        "cursor",
        [
            "nonsense",
            "bnVsbA",  # null
            "WyJub3QgYSBkYXRlIiwgIngiXQ",  # ["not a date", "x"]
            "WyIyMDI2LTAxLTAxVDAwOjAwOjAwIiwgIngiXQ",  # ["2026-01-01T00:00:00", "x"]
            "WyIwMDAxLTAxLTAxVDAwOjAwOjAwKzIzOjU5IiwgIngiXQ",  # ["0001-01-01T00:00:00+23:59", "x"]
            "WyI5OTk5LTEyLTMxVDIzOjU5OjU5LTIzOjU5IiwgIngiXQ",  # ["9999-12-31T23:59:59-23:59", "x"]
            "WyIyMDI2LTAxLTAxVDAwOjAwOjAwWiIsICJcdWQ4MDAiXQ",  # ["2026-01-01T00:00:00Z", "\ud800"]
            "é",
        ],
    )
    async def test_a_cursor_of_no_list_is_refused(self, api: Api, cursor: str) -> None:
        for path in ("/v1/sessions", "/v1/connections"):
            assert_problem(await api.get(path, params={"cursor": cursor}), 400, "invalid_cursor")


class TestCancel:
    async def test_a_cancelled_login_has_no_links_any_more(self, api: Api, browser: Browser) -> None:
        session = await api.start()
        answer = await api.delete(f"/v1/sessions/{session['id']}")
        assert (answer.status_code, answer.content) == (204, b"")
        cancelled = await api.session(session["id"])
        assert cancelled["status"] == "cancelled"
        assert cancelled["ended_at"] is not None
        assert cancelled["authorization_url"] is cancelled["connect_url"] is None
        opened = await browser.open(session["connect_url"])
        assert opened.status_code == 400
        assert "location" not in opened.headers

    async def test_the_bank_s_redirect_for_a_cancelled_login_links_nothing(
        self, api: Api, bank: SandboxClient, browser: Browser
    ) -> None:
        session = await api.start()
        location = await go_to_bank(bank, browser, session)
        await api.delete(f"/v1/sessions/{session['id']}")
        shown = await browser.open(location)
        assert "Nothing was linked" in shown.text
        assert (await api.get("/v1/connections")).json()["items"] == []
        assert (await bank.ledger()).totals.codes_exchanged == 0

    async def test_to_cancel_again_is_no_error(self, api: Api) -> None:
        session = await api.start()
        for _ in range(2):
            assert (await api.delete(f"/v1/sessions/{session['id']}")).status_code == 204

    async def test_what_has_ended_cannot_be_cancelled(self, api: Api, bank: SandboxClient, browser: Browser) -> None:
        session = await api.start()
        await browser.open(await go_to_bank(bank, browser, session))
        assert_problem(await api.delete(f"/v1/sessions/{session['id']}"), 409, "session_not_pending")
        assert (await api.session(session["id"]))["status"] == "completed"


class TestTime:
    async def test_a_login_whose_time_is_over_has_expired_at_once(
        self, api: Api, broker: Broker, browser: Browser, bank: SandboxClient
    ) -> None:
        session = await api.start()
        location = await go_to_bank(bank, browser, session)
        await broker.rows.change_session(session["id"], expires_at=seconds_from_now(-1))
        expired = await api.session(session["id"])
        assert expired["status"] == "expired"
        assert expired["ended_at"] is not None
        assert expired["authorization_url"] is expired["connect_url"] is None
        shown = await browser.open(location)
        assert shown.status_code == 400
        assert "location" not in shown.headers
        assert (await bank.ledger()).totals.codes_exchanged == 0

    async def test_the_settings_say_how_long_a_login_may_take(
        self, brokers: BrokerFactory, sign_up: ApiFactory
    ) -> None:
        api = await sign_up(broker=await brokers(session_ttl=60))
        session = await api.start()
        times = [datetime.fromisoformat(session[name]) for name in ("created_at", "expires_at")]
        assert times[1] - times[0] == timedelta(seconds=60)


class TestRenewal:
    async def test_only_a_connection_of_the_tenant_is_renewed(
        self, api: Api, stranger: Api, connection_id: str
    ) -> None:
        wanted = {"user_id": "user-1", "connection_id": connection_id}
        assert_problem(await stranger.post("/v1/sessions", json=wanted), 404, "connection_not_found")
        assert (await api.start(**wanted))["connection_id"] == connection_id

    async def test_a_connection_of_another_user_is_not_renewed(self, api: Api, connection_id: str) -> None:
        wanted = {"user_id": "user-2", "connection_id": connection_id}
        assert_problem(await api.post("/v1/sessions", json=wanted), 409, "user_mismatch")

    async def test_a_revoked_connection_is_not_renewed(self, api: Api, connection_id: str) -> None:
        await api.delete(f"/v1/connections/{connection_id}")
        wanted = {"user_id": "user-1", "connection_id": connection_id}
        assert_problem(await api.post("/v1/sessions", json=wanted), 409, "connection_revoked")


async def test_no_session_starts_while_the_bank_cannot_be_discovered(
    brokers: BrokerFactory, sign_up: ApiFactory, bank: SandboxClient
) -> None:
    await bank.set_faults(discovery={"status": 503})
    api = await sign_up(broker=await brokers())
    assert_problem(await api.post("/v1/sessions", json={"user_id": "u"}), 502, "bank_bad_answer")
    await bank.set_faults(discovery=None)

    async def starts() -> bool:
        return (await api.post("/v1/sessions", json={"user_id": "u"})).status_code == 201

    await eventually(starts)


async def test_null_is_as_if_an_optional_member_were_left_out(api: Api) -> None:
    members = ("scopes", "return_url", "connection_id", "require_confirmation", "metadata")
    session = await api.start(**dict.fromkeys(members))
    plain = await api.start()
    assert {name: session[name] for name in ("scopes", "metadata")} == {
        name: plain[name] for name in ("scopes", "metadata")
    }
    refused = await api.post("/v1/sessions", json={"user_id": None})
    assert refused.status_code == 422
