"""`/v1/callers` and their keys."""

from datetime import UTC, datetime, timedelta

import pytest

from app.runtime import RuntimeOptions
from tests.api.conftest import ApiFactory, BrokerFactory
from tests.support.broker import Api
from tests.support.error_responses import assert_problem
from tests.support.eventually import eventually


async def with_key(api: Api, key: str) -> int:
    """Return the status of a call with another key."""
    return (await api.get("/v1/connections", headers={"authorization": f"Bearer {key}"})).status_code


class TestCallers:
    async def test_the_key_of_a_new_caller_is_shown_only_once(self, api: Api) -> None:
        request = {"name": "payments", "permissions": ["graphql:query", "connections:read"]}
        response = await api.post("/v1/callers", json=request)
        assert response.status_code == 201
        assert response.headers["cache-control"] == "no-store"
        created = response.json()
        key = created.pop("api_key")
        assert created.keys() == {"id", "name", "tenant", "permissions", "created_at", "disabled_at"}
        assert created["tenant"] == api.tenant
        assert set(created["permissions"]) == set(request["permissions"])
        assert response.headers["location"] == f"/v1/callers/{created['id']}"
        assert await with_key(api, key) == 200
        shown = await api.get(response.headers["location"])
        assert shown.json() == created
        assert key not in (await api.get("/v1/callers")).text

    async def test_a_name_is_unique_within_a_tenant(self, api: Api, stranger: Api) -> None:
        request = {"name": "payments", "permissions": ["admin"]}
        assert (await api.post("/v1/callers", json=request)).status_code == 201
        assert_problem(await api.post("/v1/callers", json=request), 409, "caller_exists")
        assert (await stranger.post("/v1/callers", json=request)).status_code == 201

    @pytest.mark.parametrize(
        "body",
        [
            {"name": "x"},
            {"name": "x", "permissions": []},
            {"name": "x", "permissions": ["everything"]},
            {"name": "", "permissions": ["admin"]},
            {"name": "nul\x00", "permissions": ["admin"]},
            {"name": "x", "permissions": ["admin"], "tenant": "another"},
        ],
    )
    async def test_an_invalid_caller_is_rejected(self, api: Api, body: object) -> None:
        assert_problem(await api.post("/v1/callers", json=body), 422, "invalid_request")

    async def test_the_list_has_only_callers_of_the_tenant(self, api: Api, stranger: Api) -> None:
        await api.post("/v1/callers", json={"name": "zebra", "permissions": ["admin"]})
        page = (await api.get("/v1/callers")).json()
        assert [caller["tenant"] for caller in page["items"]] == [api.tenant] * 2
        assert page["next_cursor"] is None
        assert "api_key" not in page["items"][0]

    async def test_the_list_has_pages(self, api: Api) -> None:
        for name in ("one", "two"):
            await api.post("/v1/callers", json={"name": name, "permissions": ["admin"]})
        seen: list[str] = []
        query = {"limit": "1"}
        for _ in range(5):
            page = (await api.get("/v1/callers", params=query)).json()
            assert len(page["items"]) == 1
            seen += [caller["id"] for caller in page["items"]]
            if page["next_cursor"] is None:
                break
            query["cursor"] = page["next_cursor"]
        assert len(set(seen)) == len(seen) == 3

    async def test_a_disabled_caller_is_rejected(self, api: Api, sign_up: ApiFactory) -> None:
        other = await sign_up(tenant=api.tenant)
        assert (await other.get("/v1/connections")).status_code == 200
        response = await api.delete(f"/v1/callers/{other.caller.id}")
        assert (response.status_code, response.content) == (204, b"")

        async def is_refused() -> bool:
            return (await other.get("/v1/connections")).status_code == 401

        await eventually(is_refused)
        assert_problem(await other.get("/v1/connections"), 401, "unauthorized_caller")
        shown = (await api.get(f"/v1/callers/{other.caller.id}")).json()
        assert shown["disabled_at"] is not None
        assert (await api.delete(f"/v1/callers/{other.caller.id}")).status_code == 204
        assert (await api.get(f"/v1/callers/{other.caller.id}")).json() == shown

    async def test_changes_are_in_the_audit_log_with_their_actor(self, api: Api) -> None:
        created = (await api.post("/v1/callers", json={"name": "x", "permissions": ["admin"]})).json()
        await api.delete(f"/v1/callers/{created['id']}")
        events = [
            (event["actor"], event["action"], event["detail"]["caller_id"])
            for event in (await api.get("/v1/audit")).json()["items"]
            if event["detail"].get("caller_id") == created["id"]
        ]
        assert events == [
            (api.caller.id, "caller.created", created["id"]),
            (api.caller.id, "key.created", created["id"]),
            (api.caller.id, "caller.disabled", created["id"]),
        ]

    async def test_a_name_that_equals_the_id_of_another_caller_gives_no_access_to_it(
        self, api: Api, sign_up: ApiFactory
    ) -> None:
        victim = await sign_up(tenant=api.tenant)
        shown = await api.get(f"/v1/callers/{victim.caller.id}")
        await api.post("/v1/callers", json={"name": victim.caller.id, "permissions": ["admin"]})
        assert (await api.get(f"/v1/callers/{victim.caller.id}")).json() == shown.json()


class TestKeys:
    async def test_another_key_works_besides_the_first(self, api: Api) -> None:
        response = await api.post(f"/v1/callers/{api.caller.id}/keys")
        assert response.status_code == 201
        assert response.headers["cache-control"] == "no-store"
        created = response.json()
        key = created.pop("api_key")
        assert created.keys() == {
            *("id", "caller_id", "prefix", "created_at", "expires_at", "revoked_at", "last_used_at"),
        }
        assert key.startswith(created["prefix"])
        assert await with_key(api, key) == await with_key(api, api.api_key) == 200
        listed = (await api.get(f"/v1/callers/{api.caller.id}/keys")).json()
        assert listed["next_cursor"] is None
        assert [key["id"] for key in listed["items"]][1:] == [created["id"]]
        assert key not in str(listed)

    async def test_keys_have_pages_and_a_maximum_number(self, brokers: BrokerFactory, sign_up: ApiFactory) -> None:
        api = await sign_up(broker=await brokers(options=RuntimeOptions(max_keys_per_caller=4)))
        keys = f"/v1/callers/{api.caller.id}/keys"
        made = [(await api.post(keys)).json()["id"] for _ in range(3)]
        refused = await api.post(keys)
        assert (refused.status_code, refused.json()["code"]) == (409, "too_many_keys")
        first = (await api.get(keys, params={"limit": 3})).json()
        second = (await api.get(keys, params={"limit": 3, "cursor": first["next_cursor"]})).json()
        assert [key["id"] for key in first["items"] + second["items"]][1:] == made
        assert second["next_cursor"] is None
        await api.delete(f"{keys}/{made[0]}")
        assert (await api.post(keys)).status_code == 201

    async def test_a_revoked_key_is_rejected_and_the_other_still_works(self, api: Api) -> None:
        created = (await api.post(f"/v1/callers/{api.caller.id}/keys")).json()
        assert await with_key(api, created["api_key"]) == 200
        response = await api.delete(f"/v1/callers/{api.caller.id}/keys/{created['id']}")
        assert (response.status_code, response.content) == (204, b"")

        async def is_refused() -> bool:
            return await with_key(api, created["api_key"]) == 401

        await eventually(is_refused)
        assert await with_key(api, api.api_key) == 200
        listed = (await api.get(f"/v1/callers/{api.caller.id}/keys")).json()["items"]
        assert [key["revoked_at"] is not None for key in listed] == [False, True]

    async def test_a_key_expires_at_its_time(self, api: Api) -> None:
        over = (datetime.now(UTC) - timedelta(seconds=1)).isoformat()
        created = (await api.post(f"/v1/callers/{api.caller.id}/keys", json={"expires_at": over})).json()
        assert await with_key(api, created["api_key"]) == 401
        later = (datetime.now(UTC) + timedelta(days=1)).isoformat()
        created = (await api.post(f"/v1/callers/{api.caller.id}/keys", json={"expires_at": later})).json()
        assert await with_key(api, created["api_key"]) == 200

    @pytest.mark.parametrize(
        "moment",
        [
            "2030-01-01T00:00:00",
            "2030-01-01",
            "tomorrow",
            1e300,
            "9999-12-31T23:59:59-23:59",
            "0001-01-01T00:00:00+23:59",
        ],
    )
    async def test_an_invalid_expiry_time_is_rejected(self, api: Api, moment: object) -> None:
        response = await api.post(f"/v1/callers/{api.caller.id}/keys", json={"expires_at": moment})
        assert response.status_code in (201, 422), response.text

    async def test_the_key_of_another_caller_is_not_found(self, api: Api, sign_up: ApiFactory) -> None:
        other = await sign_up(tenant=api.tenant)
        [key] = (await api.get(f"/v1/callers/{other.caller.id}/keys")).json()["items"]
        response = await api.delete(f"/v1/callers/{api.caller.id}/keys/{key['id']}")
        assert_problem(response, 404, "key_not_found")
        assert (await other.get("/v1/connections")).status_code == 200

    @pytest.mark.parametrize("path", ["%00", "unknown", "%00/keys", "unknown/keys"])
    async def test_an_unknown_caller_is_not_found(self, api: Api, path: str) -> None:
        assert_problem(await api.get(f"/v1/callers/{path}"), 404, "caller_not_found")

    async def test_a_key_with_a_nul_is_not_found(self, api: Api) -> None:
        response = await api.delete(f"/v1/callers/{api.caller.id}/keys/%00")
        assert_problem(response, 404, "key_not_found")
