"""`POST /v1/connections/{id}/graphql`: the query path, a plain ASGI endpoint.

What a web framework does for a route costs more than all the work that is left here. `openapi.py` documents the call
like any other.
"""

import asyncio
import re
import time
from collections.abc import Mapping
from functools import lru_cache

from starlette.types import Receive, Scope, Send

from app.api.accept import qualities
from app.api.context import admit, request_id_of
from app.api.graphql_errors import render_graphql_error
from app.errors import BrokerError, ConnectionNotFound, InvalidRequest, RequestTooLarge
from app.json_text import storable
from app.logs import get_logger
from app.runtime import Runtime
from app.services.callers import Permission
from app.services.proxy import BankAnswer
from app.wire import HeaderLines, header_lines

ROUTE = "/v1/connections/{connection_id}/graphql"
_PATH = re.compile(r"/v1/connections/([^/]{1,255})/graphql")
_PASSED_ON = (
    b"accept",
    b"accept-language",
    b"content-type",
    b"traceparent",
    b"tracestate",
    b"apollographql-client-name",
    b"apollographql-client-version",
    b"x-apollo-operation-name",
)
_PASSED_BACK = frozenset(
    {
        b"content-type",
        b"content-encoding",
        b"content-length",
        b"content-language",
        b"cache-control",
        b"retry-after",
        b"vary",
    }
)
# Only what expiry can be found in: the bank must not answer in an encoding that the broker cannot look into.
_ENCODINGS = ("gzip", "deflate")
_USER_AGENT = (b"user-agent", b"stitch-token-broker")
logger = get_logger(__name__)


class MethodNotAllowed(InvalidRequest):
    """The query path takes POST alone."""

    status = 405
    default_code = "method_not_allowed"


def matches(scope: Scope) -> str | None:
    """Return the connection's id where a request is for the query path."""
    match = _PATH.fullmatch(scope["path"])
    return match[1] if match else None


async def serve_query(runtime: Runtime, connection_id: str, scope: Scope, receive: Receive, send: Send) -> None:
    """Authenticate, authorise, send the query on with the connection's token, and stream the answer."""
    began = time.perf_counter()
    scope["broker.route"] = ROUTE
    headers: dict[bytes, bytes] = dict(scope["headers"])
    accept = headers.get(b"accept", b"").decode("latin-1")
    started = False
    try:
        if scope["method"] != "POST":
            raise MethodNotAllowed("use POST")
        caller = await runtime.authenticator.authenticate(headers.get(b"authorization", b"").decode("latin-1"))
        admit(runtime, caller, scope)
        caller.require(Permission.GRAPHQL_QUERY)
        body = await _read_body(headers, receive, runtime.settings.max_query_bytes)
        if Permission.GRAPHQL_MUTATE not in caller.permissions:
            _require_json(headers.get(b"content-type", b"application/json"))
            if runtime.documents.may_mutate(body):
                caller.require(Permission.GRAPHQL_MUTATE)
        if not storable(connection_id):
            raise ConnectionNotFound("there is no such connection")
        asked = time.perf_counter()
        answer = await runtime.proxy.send(caller.tenant, connection_id, _passed_on(headers), body)
        try:
            now = time.perf_counter()
            timing = f"broker;dur={(asked - began) * 1000:.1f}, bank;dur={(now - asked) * 1000:.1f}"
            await send(_start(answer, timing))
            started = True
            await _stream(answer, receive, send)
        finally:
            answer.close()
    except BrokerError as error:
        if started:
            # Too late for another answer: leaving without the end makes the server cut the connection.
            logger.warning("answer_broken_off", code=error.code, connection_id=connection_id)
            return
        await _refuse(error, accept, scope, send)
    except Exception:
        if started:
            raise
        logger.exception("query_crashed", connection_id=connection_id)
        fault = BrokerError("the broker has a fault; its log tells more under this request_id")
        await _refuse(fault, accept, scope, send)


def _require_json(content_type: bytes) -> None:
    """What is looked into as JSON must not be read as something else by the bank."""
    if content_type.partition(b";")[0].strip().lower() not in (b"application/json", b"application/graphql+json"):
        raise InvalidRequest("send the query as application/json", code="content_type_unsupported")


async def _read_body(headers: Mapping[bytes, bytes], receive: Receive, limit: int) -> bytes:
    if headers.get(b"content-encoding", b"identity") != b"identity":
        raise InvalidRequest("send the query uncompressed", code="content_encoding_unsupported")
    too_large = RequestTooLarge(f"a query may have {limit} bytes")
    announced = headers.get(b"content-length", b"")
    if announced.isdigit() and int(announced) > limit:
        raise too_large
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise InvalidRequest("the request broke off")
        body += message.get("body", b"")
        if len(body) > limit:
            raise too_large
        if not message.get("more_body", False):
            return bytes(body)


def _passed_on(headers: Mapping[bytes, bytes]) -> HeaderLines:
    passed = tuple((name, headers[name]) for name in _PASSED_ON if name in headers)
    try:
        return _lines(passed, headers.get(b"accept-encoding", b""))
    except ValueError as error:
        raise InvalidRequest("a header has characters that no header value may have") from error


@lru_cache(maxsize=1_024)
def _lines(passed: tuple[tuple[bytes, bytes], ...], accept_encoding: bytes) -> HeaderLines:
    """Write the lines of headers, which are the same for most of a caller's queries."""
    accepted = qualities(accept_encoding.decode("latin-1"))
    encodings = [one for one in _ENCODINGS if accepted.get(one, 0) > 0] or ["identity"]
    given = dict(passed)
    given.setdefault(b"content-type", b"application/json")
    given.setdefault(b"accept", b"*/*")
    return header_lines([*given.items(), (b"accept-encoding", ", ".join(encodings).encode()), _USER_AGENT])


def _start(answer: BankAnswer, timing: str) -> dict[str, object]:
    headers = [field for field in answer.fields if field[0] in _PASSED_BACK]
    headers.append((b"server-timing", timing.encode()))
    headers.append((b"broker-token-version", b"%d" % answer.token_version))
    return {"type": "http.response.start", "status": answer.status, "headers": headers}


async def _stream(answer: BankAnswer, receive: Receive, send: Send) -> None:
    """Pass the body on as fast as the caller takes it; a caller that goes away ends the bank's answer too."""
    if (whole := answer.whole()) is not None:
        await send({"type": "http.response.body", "body": whole})
        return
    gone = asyncio.ensure_future(_disconnected(receive))
    try:
        async for chunk in answer.body():
            if gone.done():
                return
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
        await send({"type": "http.response.body", "body": b""})
    finally:
        gone.cancel()


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _refuse(error: BrokerError, accept: str, scope: Scope, send: Send) -> None:
    if error.status >= 500:
        logger.warning("query_failed", code=error.code, exc_info=error)
    status, headers, body = render_graphql_error(error, accept, request_id_of(scope))
    if isinstance(error, MethodNotAllowed):
        headers["allow"] = "POST"
    headers["content-length"] = str(len(body))
    await send(
        {
            "type": "http.response.start",
            "status": status,
            "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
        }
    )
    await send({"type": "http.response.body", "body": body})
