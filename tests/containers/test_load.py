"""The load of `make containers` must notice every kind of failed query."""

from collections.abc import Callable

import httpx
import pytest

from app.demo.broker import Broker
from app.demo.expectations import Unexpected
from containers.load import Load


def create_load(respond: Callable[[httpx.Request], httpx.Response]) -> Load:
    return Load(Broker("http://broker", "key", transport=httpx.MockTransport(respond)), "con_1")


def refuse_connection(request: httpx.Request) -> httpx.Response:
    raise httpx.ConnectError("refused", request=request)


def test_successful_queries_are_counted() -> None:
    load = create_load(lambda _: httpx.Response(200, json={"data": {}}))
    with load.running():
        load.wait_for_queries(5)
    assert load.succeeded >= 5
    load.require_no_failure()


@pytest.mark.parametrize(
    "respond",
    [
        lambda _: httpx.Response(502),
        lambda _: httpx.Response(200, json={"errors": [{"message": "no"}]}),
        lambda _: httpx.Response(200, text="half a respon"),
        refuse_connection,
    ],
    ids=["status", "errors", "no JSON", "no connection"],
)
def test_a_single_failed_query_fails_the_check(respond: Callable[[httpx.Request], httpx.Response]) -> None:
    load = create_load(respond)
    with load.running():
        load.wait_for_queries(1)
    with pytest.raises(Unexpected, match="0 failed queries"):
        load.require_no_failure()
