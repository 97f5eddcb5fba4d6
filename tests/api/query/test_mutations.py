"""Without the permission `graphql:mutate`, only queries reach the bank."""

import json

import pytest

from tests.api.conftest import ApiFactory
from tests.support.broker import Api, Broker
from tests.support.error_responses import assert_graphql_error
from tests.support.hostile import HostileServer, json_reply

DATA = {"data": {"a": 1}}
BOTH = "query Look { a } mutation Change { b } subscription Watch { c }"


@pytest.fixture
async def reader(proxy: Broker, sign_up: ApiFactory) -> Api:
    """A caller that may query but not mutate."""
    return await sign_up(broker=proxy, permissions=["graphql:query"])


@pytest.fixture
async def linked(proxy: Broker, reader: Api) -> str:
    """A connection of `reader`."""
    return (await proxy.rows.insert(tenant=reader.tenant)).id


@pytest.fixture(autouse=True)
def _responding(upstream: HostileServer) -> None:
    upstream.replies["/graphql"] = json_reply(DATA)


@pytest.mark.parametrize(
    "request_",
    [
        {"query": "{ a }"},
        {"query": "query { a }"},
        {"query": "query A($x: Int) { a(x: $x) } fragment F on B { c }", "operationName": "A"},
        {"query": "query Look { a } query Other { b }", "operationName": "Look"},
        {"query": "# mutation\n{ a }"},
        {"query": '{ a(text: "mutation { b }") }'},
        {"query": "{ mutation }"},
        [{"query": "{ a }"}, {"query": "{ b }"}],
        {"query": "{ a }", "variables": None, "operationName": None},
        {"query": "{ a }", "operationName": ""},
    ],
    ids=str,
)
async def test_a_query_passes(reader: Api, linked: str, upstream: HostileServer, request_: object) -> None:
    response = await reader.post(f"/v1/connections/{linked}/graphql", json=request_)
    assert response.json() == DATA
    assert upstream.count("/graphql") == 1


@pytest.mark.parametrize(
    "request_",
    [
        {"query": "mutation { b }"},
        {"query": "mutation Change { b }", "operationName": "Change"},
        {"query": "\ufeffmutation { b }"},
        {"query": "#\n\nmutation{b}"},
        {"query": "subscription { c }"},
        {"query": BOTH},
        {"query": BOTH, "operationName": "Look"},
        {"query": BOTH, "operationName": "Change"},
        {"query": BOTH, "operationName": "Watch"},
        {"query": BOTH, "operationName": "Unknown"},
        {"query": BOTH, "operationName": ""},
        {"query": "query A { a } mutation A { b }", "operationName": "A"},
        {"query": "mutation A { b } query A { a }", "operationName": "A"},
        {"query": "mutation { b } { a }"},
        {"query": "{ a } mutation { b }"},
        {"query": "mutation { b } query { a }"},
        {"query": "this does not parse"},
        {"query": ""},
        {"query": "fragment F on B { c }"},
        {"query": "{" * 3_000},
        {"query": "{ a }", "Query": "mutation { b }"},
        {"query": "{ a }", "documentId": "pay"},
        {"extensions": {"persistedQuery": {"version": 1, "sha256Hash": "x"}}},
        {"query": None, "extensions": {}},
        [{"query": "{ a }"}, {"query": "mutation { b }"}],
    ],
    ids=lambda request: str(request)[:60],
)
async def test_anything_that_may_be_more_than_a_query_is_rejected(
    reader: Api, linked: str, upstream: HostileServer, request_: object
) -> None:
    response = await reader.post(f"/v1/connections/{linked}/graphql", json=request_)
    assert_graphql_error(response, 403, "PERMISSION_DENIED")
    assert upstream.count("/graphql") == 0


async def test_a_batch_that_would_take_long_to_parse_is_rejected_unparsed(
    reader: Api, linked: str, upstream: HostileServer
) -> None:
    batch = [{"query": "{" + f"a{number} " * 20_000 + "}"} for number in range(7)]
    response = await reader.post(f"/v1/connections/{linked}/graphql", json=batch)
    extensions = assert_graphql_error(response, 413, "REQUEST_TOO_LARGE")
    assert extensions["reason"] == "query_too_complex"
    assert upstream.count("/graphql") == 0


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"null",
        b"7",
        b'"{ a }"',
        b"[]",
        b"[7]",
        b"[[]]",
        b"{}",
        b'{"query": 7}',
        b'{"query": null}',
        b'{"query": ["{ a }"]}',
        b'{"query": "{ a }", "operationName": ["A"]}',
        b'{"query": "{ a }", "operationName": {"A": 1}}',
        b"\xff\xfe",
        b"[" * 10_000,
        b'{"query": "\\ud800"}',
    ],
    ids=lambda body: body[:40].decode("latin-1"),
)
async def test_a_body_that_is_not_a_graphql_request_is_rejected(
    reader: Api, linked: str, upstream: HostileServer, body: bytes
) -> None:
    response = await reader.post(
        f"/v1/connections/{linked}/graphql", content=body, headers={"content-type": "application/json"}
    )
    assert response.status_code in (400, 403), response.text
    assert_graphql_error(
        response, response.status_code, "BAD_REQUEST" if response.status_code == 400 else "PERMISSION_DENIED"
    )
    assert upstream.count("/graphql") == 0


@pytest.mark.parametrize(
    "body",
    [
        b'{"query": "mutation { b }", "query": "{ a }"}',
        b'{"query": "query Q { a } mutation M { b }", "operationName": "M", "operationName": "Q"}',
    ],
)
async def test_an_ambiguous_body_is_not_taken_for_the_harmless_reading(
    reader: Api, linked: str, upstream: HostileServer, body: bytes
) -> None:
    """JSON does not say which of two members with the same name counts (RFC 8259 section 4)."""
    await reader.post(f"/v1/connections/{linked}/graphql", content=body, headers={"content-type": "application/json"})
    assert upstream.count("/graphql") == 0


@pytest.mark.parametrize(
    "content_type",
    [
        "",
        "application/x-www-form-urlencoded",
        "application/graphql",
        "multipart/form-data; boundary=x",
        "application/json; charset=utf-7",
        "application/json; charset=utf-8; charset=utf-7",
        "application/json; a=application/graphql",
        "application/json;" + ";" * 100_000,
    ],
    ids=lambda content_type: content_type[:50],
)
async def test_a_body_that_the_bank_may_read_differently_is_rejected(
    reader: Api, linked: str, upstream: HostileServer, content_type: str
) -> None:
    body = json.dumps({"query": "{ a }", "variables": {"x": "&query=mutation { b }&y="}})
    await reader.post(f"/v1/connections/{linked}/graphql", content=body, headers={"content-type": content_type})
    assert upstream.count("/graphql") == 0


@pytest.mark.parametrize(
    "content_type",
    [
        "application/json",
        "Application/JSON;charset=UTF-8",
        'application/json; charset="utf-8"',
        "application/graphql+json; charset=utf-8",
    ],
)
async def test_the_bank_gets_the_media_type_that_the_query_was_parsed_as(
    reader: Api, linked: str, upstream: HostileServer, content_type: str
) -> None:
    headers = {"content-type": content_type}
    response = await reader.post(f"/v1/connections/{linked}/graphql", content=b'{"query": "{ a }"}', headers=headers)
    assert response.json() == DATA
    assert [headers["content-type"] for _, headers, _ in upstream.received] == ["application/json"]


async def test_a_caller_that_may_mutate_can_send_anything(
    proxy: Broker, sign_up: ApiFactory, upstream: HostileServer
) -> None:
    writer = await sign_up(broker=proxy, permissions=["graphql:query", "graphql:mutate"])
    connection = await proxy.rows.insert(tenant=writer.tenant)
    for text in ("mutation { b }", BOTH, "this does not parse"):
        assert (await writer.query(connection.id, text)).json() == DATA
    assert upstream.count("/graphql") == 3
