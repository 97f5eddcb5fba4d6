import inspect

import pytest

from app import errors
from app.errors import BrokerError

TREE = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, BrokerError)]
GRAPHQL_CODES = {
    "UNAUTHORIZED_CALLER": 401,
    "PERMISSION_DENIED": 403,
    "CONNECTION_NOT_FOUND": 404,
    "REAUTHORIZATION_REQUIRED": 409,
    "CONNECTION_NOT_READY": 409,
    "CONNECTION_REVOKED": 409,
    "REQUEST_TOO_LARGE": 413,
    "RATE_LIMITED": 429,
    "BANK_UNAVAILABLE": 502,
    "BANK_TIMEOUT": 504,
}


@pytest.mark.parametrize(("code", "status"), GRAPHQL_CODES.items())
def test_graphql_codes_go_with_their_documented_status(code: str, status: int) -> None:
    assert {kind.status for kind in TREE if kind.graphql_code == code} == {status}


@pytest.mark.parametrize("kind", TREE)
def test_the_docstring_draws_every_error(kind: type[BrokerError]) -> None:
    assert errors.__doc__ is not None
    assert kind.__name__ in errors.__doc__.split()


def test_codes_are_stable_and_told_apart() -> None:
    codes = [kind.default_code for kind in TREE]
    assert len(set(codes)) == len(codes)


def test_an_error_has_its_own_code_or_its_kinds() -> None:
    assert errors.NotFound("nothing").code == "not_found"
    error = errors.NotFound("nothing", code="ticket_unknown", retry_after=2)
    assert (error.code, error.retry_after, error.detail, str(error)) == ("ticket_unknown", 2, "nothing", "nothing")
