import httpx
import pytest

from app.demo.exchange import JsonResponse, require_status
from app.demo.expectations import Unexpected


def test_a_member_is_found_by_its_path() -> None:
    answer = JsonResponse(httpx.Response(200, json={"errors": [{"extensions": {"code": "X"}}]}))
    assert answer.member("errors", 0, "extensions", "code") == "X"


@pytest.mark.parametrize("body", ["", "<html>", "[]", "null", '{"data": null}', '{"data": {"user": []}}'])
def test_a_member_that_is_not_there_is_reported_with_the_body(body: str) -> None:
    with pytest.raises(Unexpected, match=r"a JSON body with data\.user\.id") as caught:
        JsonResponse(httpx.Response(200, text=body)).member("data", "user", "id")
    assert caught.value.actual == (body or "an empty body")


def test_another_status_is_reported_with_the_body() -> None:
    require_status(httpx.Response(204), 204)
    with pytest.raises(Unexpected, match="expected status 201, got 503 not now"):
        require_status(httpx.Response(503, text="not now"), 201)
