"""Bodies that are small, but nested too deeply or with too many values."""

import pytest

from app.api.json_limits import MAX_DEPTH, MAX_VALUES
from tests.support.broker import Api
from tests.support.error_responses import assert_problem

JSON = {"content-type": "application/json"}


def nested(levels: int, opening: str, closing: str) -> str:
    """Return a request nested `levels` deep, of which the request itself and `metadata` are two."""
    inner = levels - 2
    return '{"user_id": "u", "metadata": {"a": ' + opening * inner + "1" + closing * inner + "}}"


@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a":', "}")])
async def test_the_depth_of_a_body_is_limited(api: Api, opening: str, closing: str) -> None:
    allowed = nested(MAX_DEPTH - 1, opening, closing)
    assert (await api.post("/v1/sessions", content=allowed, headers=JSON)).status_code == 201
    for levels in (MAX_DEPTH + 1, 5_000):
        response = await api.post("/v1/sessions", content=nested(levels, opening, closing), headers=JSON)
        assert_problem(response, 400, "json_too_deep")


async def test_unclosed_brackets_are_the_callers_error(api: Api) -> None:
    for body in ("[" * 60_000, '{"a":' * 12_000):
        response = await api.post("/v1/sessions", content=body, headers=JSON)
        assert response.status_code == 400
        assert_problem(response, 400, response.json()["code"])


async def test_the_number_of_values_is_limited(api: Api) -> None:
    metadata = {"a": [1] * (MAX_VALUES - 3)}
    assert (await api.post("/v1/sessions", json={"user_id": "u", "metadata": metadata})).status_code == 201
    too_many: list[list[object]] = [[1] * (MAX_VALUES + 1), [{"x": []}] * MAX_VALUES, [[]] * 20_000]
    for values in too_many:
        response = await api.post("/v1/sessions", json={"user_id": "u", "metadata": {"a": values}})
        assert_problem(response, 400, "json_too_many_values")


async def test_the_body_of_an_unknown_caller_is_not_read(api: Api) -> None:
    response = await api.post("/v1/sessions", content="[" * 60_000, headers=JSON | {"authorization": "Bearer wrong"})
    assert_problem(response, 401, "unauthorized_caller")
