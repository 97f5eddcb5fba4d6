import importlib
import inspect
import pkgutil
import re
from collections.abc import Iterator

import pytest

import app
from app import errors
from app.errors import BrokerError

ALL = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, BrokerError)]
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


def subclasses(kind: type[BrokerError]) -> Iterator[type[BrokerError]]:
    for subclass in kind.__subclasses__():
        yield subclass
        yield from subclasses(subclass)


def drawn_tree() -> Iterator[tuple[str, str, int]]:
    """Yield the name, the parent's name and the status of each class that the docstring draws."""
    ancestors: list[str] = []
    for line in (errors.__doc__ or "").splitlines():
        if match := re.fullmatch(r"((?:[│ ]   )*(?:[├└]── )?)(\w+) +(\d{3})", line):
            branch, name, status = match.groups()
            depth = len(branch) // 4
            del ancestors[depth:]
            yield name, ancestors[-1] if ancestors else "Exception", int(status)
            ancestors.append(name)


@pytest.mark.parametrize(("code", "status"), GRAPHQL_CODES.items())
def test_graphql_codes_go_with_their_documented_status(code: str, status: int) -> None:
    assert {kind.status for kind in ALL if kind.graphql_code == code} == {status}


def test_every_error_of_the_broker_is_defined_in_one_module() -> None:
    for module in pkgutil.walk_packages(app.__path__, "app."):
        importlib.import_module(module.name)
    elsewhere = {
        f"{kind.__module__}.{kind.__qualname__}"
        for kind in subclasses(BrokerError)
        if kind.__module__.startswith("app.") and kind.__module__ != errors.__name__
    }
    assert elsewhere == set()


def test_the_docstring_draws_every_error_below_its_parent_and_with_its_status() -> None:
    defined = {(kind.__name__, str(kind.__base__.__name__ if kind.__base__ else None), kind.status) for kind in ALL}
    drawn = list(drawn_tree())
    assert set(drawn) == defined
    assert len(drawn) == len(ALL)


def test_error_codes_are_stable_and_distinct() -> None:
    codes = [kind.default_code for kind in ALL]
    assert len(set(codes)) == len(codes)


def test_an_error_has_the_code_it_was_given_or_that_of_its_class() -> None:
    assert errors.NotFound("nothing").code == "not_found"
    error = errors.NotFound("nothing", code="ticket_unknown", retry_after=2)
    assert (error.code, error.retry_after, error.detail, str(error)) == ("ticket_unknown", 2, "nothing", "nothing")
