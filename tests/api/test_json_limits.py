"""Bodies that are small, and yet too much."""

import pytest

from app.api.json_limits import MAX_DEPTH, MAX_VALUES
from tests.support.answers import assert_problem
from tests.support.broker import Api

JSON = {"content-type": "application/json"}


def nested(levels: int, opening: str, closing: str) -> str:
    """Return a request whose metadata nests so deeply; the request and `metadata` are two levels of it."""
    inner = levels - 2
    return '{"user_id": "u", "metadata": {"a": ' + opening * inner + "1" + closing * inner + "}}"


@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a":', "}")])
async def test_nesting_has_an_end(api: Api, opening: str, closing: str) -> None:
    allowed = nested(MAX_DEPTH - 1, opening, closing)
    assert (await api.post("/v1/sessions", content=allowed, headers=JSON)).status_code == 201
    for levels in (MAX_DEPTH + 1, 5_000):
        answer = await api.post("/v1/sessions", content=nested(levels, opening, closing), headers=JSON)
        assert_problem(answer, 400, "json_too_deep")


async def test_brackets_without_end_are_no_fault_of_ours(api: Api) -> None:
    for body in ("[" * 60_000, '{"a":' * 12_000):
        answer = await api.post("/v1/sessions", content=body, headers=JSON)
        assert answer.status_code == 400
        assert_problem(answer, 400, answer.json()["code"])


async def test_values_have_a_number(api: Api) -> None:
    metadata = {"a": [1] * (MAX_VALUES - 3)}
    assert (await api.post("/v1/sessions", json={"user_id": "u", "metadata": metadata})).status_code == 201
    excess: list[list[object]] = [[1] * (MAX_VALUES + 1), [{"x": []}] * MAX_VALUES, [[]] * 20_000]
    for more in excess:
        answer = await api.post("/v1/sessions", json={"user_id": "u", "metadata": {"a": more}})
        assert_problem(answer, 400, "json_too_many_values")


async def test_who_is_not_known_is_not_read(api: Api) -> None:
    answer = await api.post("/v1/sessions", content="[" * 60_000, headers=JSON | {"authorization": "Bearer wrong"})
    assert_problem(answer, 401, "unauthorized_caller")
