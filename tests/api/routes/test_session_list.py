"""`GET /v1/sessions`: pages, filters and cursors."""

import pytest

from tests.support.broker import Api
from tests.support.error_responses import assert_problem


class TestList:
    async def test_each_session_is_on_one_page_the_newest_first(self, api: Api) -> None:
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

    async def test_a_full_last_page_has_no_next_cursor(self, api: Api) -> None:
        for _ in range(2):
            await api.start()
        page = (await api.get("/v1/sessions?limit=2")).json()
        assert len(page["items"]) == 2
        assert page["next_cursor"] is None

    async def test_the_list_is_filtered_by_user_and_status(self, api: Api) -> None:
        mine, other = await api.start(user_id="mine"), await api.start(user_id="other")
        await api.delete(f"/v1/sessions/{mine['id']}")

        async def ids(**query: str) -> list[str]:
            return [item["id"] for item in (await api.get("/v1/sessions", params=query)).json()["items"]]

        assert await ids(user_id="mine") == [mine["id"]]
        assert await ids(status="pending") == [other["id"]]
        assert await ids(status="cancelled") == [mine["id"]]
        assert await ids(user_id="mine", status="pending") == []

    async def test_items_are_complete_sessions(self, api: Api) -> None:
        session = await api.start()
        response = await api.get("/v1/sessions")
        assert response.json() == {"items": [session], "next_cursor": None}
        assert response.headers["cache-control"] == "no-store"

    @pytest.mark.parametrize("query", ["limit=0", "limit=201", "limit=many", "status=lost", "user_id=%00"])
    async def test_an_invalid_filter_is_rejected(self, api: Api, query: str) -> None:
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
    async def test_an_invalid_cursor_is_rejected(self, api: Api, cursor: str) -> None:
        for path in ("/v1/sessions", "/v1/connections"):
            assert_problem(await api.get(path, params={"cursor": cursor}), 400, "invalid_cursor")
