"""The load of `make containers`: a verdict is worth no more than what it would notice."""

from collections.abc import Callable

import httpx
import pytest

from app.demo.broker import Broker
from app.demo.expectations import Unexpected
from containers.load import Load


def load_of(answer: Callable[[httpx.Request], httpx.Response]) -> Load:
    """A load on something that answers so."""
    return Load(Broker("http://broker", "key", transport=httpx.MockTransport(answer)), "con_1")


def refuse(request: httpx.Request) -> httpx.Response:
    raise httpx.ConnectError("refused", request=request)


def test_answers_are_counted() -> None:
    load = load_of(lambda _: httpx.Response(200, json={"data": {}}))
    with load.running():
        load.wait_for_more(5)
    assert load.answered >= 5
    load.require_no_failure()


@pytest.mark.parametrize(
    "answer",
    [
        lambda _: httpx.Response(502),
        lambda _: httpx.Response(200, json={"errors": [{"message": "no"}]}),
        lambda _: httpx.Response(200, text="half an ans"),
        refuse,
    ],
    ids=["status", "errors", "no JSON", "no connection"],
)
def test_one_failure_is_enough(answer: Callable[[httpx.Request], httpx.Response]) -> None:
    load = load_of(answer)
    with load.running():
        load.wait_for_more(1)
    with pytest.raises(Unexpected, match="0 failed queries"):
        load.require_no_failure()
