"""`/v1/callers` and their keys."""

from datetime import UTC, datetime, timedelta

import pytest

from app.runtime import RuntimeOptions
from tests.api.conftest import ApiFactory, BrokerFactory
from tests.support.answers import assert_problem
from tests.support.broker import Api
from tests.support.eventually import eventually


async def with_key(api: Api, key: str) -> int:
    """Return the status of a call with another key."""
    return (await api.get("/v1/connections", headers={"authorization": f"Bearer {key}"})).status_code


class TestCallers:
    async def test_a_new_caller_is_shown_with_its_key_this_once(self, api: Api) -> None:
        wanted = {"name": "payments", "permissions": ["graphql:query", "connections:read"]}
        answer = await api.post("/v1/callers", json=wanted)
        assert answer.status_code == 201
        assert answer.headers["cache-control"] == "no-store"
        created = answer.json()
        key = created.pop("api_key")
        assert created.keys() == {"id", "name", "tenant", "permissions", "created_at", "disabled_at"}
        assert created["tenant"] == api.tenant
        assert set(created["permissions"]) == set(wanted["permissions"])
        assert answer.headers["location"] == f"/v1/callers/{created['id']}"
        assert await with_key(api, key) == 200
        shown = await api.get(answer.headers["location"])
        assert shown.json() == created
        assert key not in (await api.get("/v1/callers")).text

    async def test_a_name_is_taken_once_in_a_tenant(self, api: Api, stranger: Api) -> None:
        wanted = {"name": "payments", "permissions": ["admin"]}
        assert (await api.post("/v1/callers", json=wanted)).status_code == 201
        assert_problem(await api.post("/v1/callers", json=wanted), 409, "caller_exists")
        assert (await stranger.post("/v1/callers", json=wanted)).status_code == 201

    @pytest.mark.parametrize(
        "wanted",
        [
            {"name": "x"},
            {"name": "x", "permissions": []},
            {"name": "x", "permissions": ["everything"]},
            {"name": "", "permissions": ["admin"]},
            {"name": "nul\x00", "permissions": ["admin"]},
            {"name": "x", "permissions": ["admin"], "tenant": "another"},
        ],
    )
    async def test_a_caller_that_cannot_be_is_refused(self, api: Api, wanted: object) -> None:
        assert_problem(await api.post("/v1/callers", json=wanted), 422, "invalid_request")

    async def test_the_list_is_the_tenants_own(self, api: Api, stranger: Api) -> None:
        await api.post("/v1/callers", json={"name": "zebra", "permissions": ["admin"]})
        page = (await api.get("/v1/callers")).json()
        assert [one["tenant"] for one in page["items"]] == [api.tenant] * 2
        assert page["next_cursor"] is None
        assert "api_key" not in page["items"][0]

    async def test_the_list_comes_in_pages_like_every_other(self, api: Api) -> None:
        for name in ("one", "two"):
            await api.post("/v1/callers", json={"name": name, "permissions": ["admin"]})
        seen: list[str] = []
        query = {"limit": "1"}
        for _ in range(5):
            page = (await api.get("/v1/callers", params=query)).json()
            assert len(page["items"]) == 1
            seen += [one["id"] for one in page["items"]]
            if page["next_cursor"] is None:
                break
            query["cursor"] = page["next_cursor"]
        assert len(set(seen)) == len(seen) == 3

    async def test_a_disabled_caller_is_refused(self, api: Api, sign_up: ApiFactory) -> None:
        other = await sign_up(tenant=api.tenant)
        assert (await other.get("/v1/connections")).status_code == 200
        answer = await api.delete(f"/v1/callers/{other.caller.id}")
        assert (answer.status_code, answer.content) == (204, b"")

        async def is_refused() -> bool:
            return (await other.get("/v1/connections")).status_code == 401

        await eventually(is_refused)
        assert_problem(await other.get("/v1/connections"), 401, "unauthorized_caller")
        shown = (await api.get(f"/v1/callers/{other.caller.id}")).json()
        assert shown["disabled_at"] is not None
        assert (await api.delete(f"/v1/callers/{other.caller.id}")).status_code == 204
        assert (await api.get(f"/v1/callers/{other.caller.id}")).json() == shown

    async def test_who_did_it_is_written_down(self, api: Api) -> None:
        created = (await api.post("/v1/callers", json={"name": "x", "permissions": ["admin"]})).json()
        await api.delete(f"/v1/callers/{created['id']}")
        deeds = [
            (one["actor"], one["action"], one["detail"]["caller_id"])
            for one in (await api.get("/v1/audit")).json()["items"]
            if one["detail"].get("caller_id") == created["id"]
        ]
        assert deeds == [
            (api.caller.id, "caller.created", created["id"]),
            (api.caller.id, "key.created", created["id"]),
            (api.caller.id, "caller.disabled", created["id"]),
        ]

    async def test_a_callers_name_that_is_anothers_id_takes_nothing_over(self, api: Api, sign_up: ApiFactory) -> None:
        victim = await sign_up(tenant=api.tenant)
        shown = await api.get(f"/v1/callers/{victim.caller.id}")
        await api.post("/v1/callers", json={"name": victim.caller.id, "permissions": ["admin"]})
        assert (await api.get(f"/v1/callers/{victim.caller.id}")).json() == shown.json()


class TestKeys:
    async def test_a_further_key_works_beside_the_first(self, api: Api) -> None:
        answer = await api.post(f"/v1/callers/{api.caller.id}/keys")
        assert answer.status_code == 201
        assert answer.headers["cache-control"] == "no-store"
        created = answer.json()
        key = created.pop("api_key")
        assert created.keys() == {
            *("id", "caller_id", "prefix", "created_at", "expires_at", "revoked_at", "last_used_at"),
        }
        assert key.startswith(created["prefix"])
        assert await with_key(api, key) == await with_key(api, api.api_key) == 200
        listed = (await api.get(f"/v1/callers/{api.caller.id}/keys")).json()
        assert listed["next_cursor"] is None
        assert [one["id"] for one in listed["items"]][1:] == [created["id"]]
        assert key not in str(listed)

    async def test_keys_come_in_pages_and_are_only_so_many(
        self, brokers: BrokerFactory, sign_up: ApiFactory
    ) -> None:
        api = await sign_up(broker=await brokers(options=RuntimeOptions(max_keys_per_caller=4)))
        keys = f"/v1/callers/{api.caller.id}/keys"
        made = [(await api.post(keys)).json()["id"] for _ in range(3)]
        refused = await api.post(keys)
        assert (refused.status_code, refused.json()["code"]) == (409, "too_many_keys")
        first = (await api.get(keys, params={"limit": 3})).json()
        second = (await api.get(keys, params={"limit": 3, "cursor": first["next_cursor"]})).json()
        assert [one["id"] for one in first["items"] + second["items"]][1:] == made
        assert second["next_cursor"] is None
        await api.delete(f"{keys}/{made[0]}")
        assert (await api.post(keys)).status_code == 201

    async def test_a_revoked_key_is_refused_and_the_other_goes_on(self, api: Api) -> None:
        created = (await api.post(f"/v1/callers/{api.caller.id}/keys")).json()
        assert await with_key(api, created["api_key"]) == 200
        answer = await api.delete(f"/v1/callers/{api.caller.id}/keys/{created['id']}")
        assert (answer.status_code, answer.content) == (204, b"")

        async def is_refused() -> bool:
            return await with_key(api, created["api_key"]) == 401

        await eventually(is_refused)
        assert await with_key(api, api.api_key) == 200
        listed = (await api.get(f"/v1/callers/{api.caller.id}/keys")).json()["items"]
        assert [one["revoked_at"] is not None for one in listed] == [False, True]

    async def test_a_key_ends_when_it_was_told_to(self, api: Api) -> None:
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
    async def test_an_end_that_is_no_moment_is_refused(self, api: Api, moment: object) -> None:
        answer = await api.post(f"/v1/callers/{api.caller.id}/keys", json={"expires_at": moment})
        assert answer.status_code in (201, 422), answer.text

    async def test_the_key_of_another_caller_is_not_found(self, api: Api, sign_up: ApiFactory) -> None:
        other = await sign_up(tenant=api.tenant)
        [key] = (await api.get(f"/v1/callers/{other.caller.id}/keys")).json()["items"]
        answer = await api.delete(f"/v1/callers/{api.caller.id}/keys/{key['id']}")
        assert_problem(answer, 404, "key_not_found")
        assert (await other.get("/v1/connections")).status_code == 200

    @pytest.mark.parametrize("path", ["%00", "unknown", "%00/keys", "unknown/keys"])
    async def test_an_unknown_caller_is_not_found(self, api: Api, path: str) -> None:
        assert_problem(await api.get(f"/v1/callers/{path}"), 404, "caller_not_found")

    async def test_a_key_with_a_nul_is_not_found(self, api: Api) -> None:
        answer = await api.delete(f"/v1/callers/{api.caller.id}/keys/%00")
        assert_problem(answer, 404, "key_not_found")
