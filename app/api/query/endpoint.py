"""`POST /v1/connections/{id}/graphql`: the query path, a plain ASGI endpoint.

What a web framework does for a route costs more than all the work that is left here. `openapi.py` documents the call
like any other.
"""

import re
import time
from collections.abc import Mapping
from functools import partial

from starlette.types import Receive, Scope, Send

from app.api.middleware import Accompaniment
from app.api.query.body import read_body
from app.api.query.client_disconnect import CLIENT_CLOSED_REQUEST, Departure, Departures
from app.api.query.errors import render_graphql_error
from app.api.query.headers import passed_on
from app.api.request_context import admit, keep, require_once
from app.callers.admission import Admission
from app.callers.permissions import Permission
from app.errors import BrokerError, InvalidRequest, MethodNotAllowed
from app.observability.logs import get_logger
from app.query.proxy import BankResponse
from app.runtime import Runtime

ROUTE = "/v1/connections/{connection_id}/graphql"
_PATH = re.compile(r"/v1/connections/([^/]{1,255})/graphql")
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
# A length that such an answer tells is that of another (RFC 9110 section 8.6).
_WITHOUT_BODY = (204, 304)
_JSON = (b"application/json", b"application/graphql+json")
_UTF_8 = (b"", b"charset=utf-8", b'charset="utf-8"')
logger = get_logger(__name__)


def matches(scope: Scope) -> str | None:
    """Return the connection's id where a request is for the query path."""
    match = _PATH.fullmatch(scope["path"])
    return match[1] if match else None


async def serve_query(
    runtime: Runtime, connection_id: str, scope: Scope, receive: Receive, send: Send, *, departures: Departures
) -> None:
    """Authenticate, authorise, send the query on with the connection's token, and stream the answer."""
    began = time.perf_counter()
    scope["broker.route"] = ROUTE
    accompaniment = Accompaniment(scope, runtime.core.shutdown, scope["method"])
    headers: dict[bytes, bytes] = dict(scope["headers"])
    started = False
    try:
        if len(headers) < len(scope["headers"]):
            require_once(scope)
        if scope["method"] != "POST":
            raise MethodNotAllowed("use POST")
        admission, body = await _take(runtime, headers, scope, receive)
        with departures.of(receive) as departure:
            asked = time.perf_counter()
            answer = await runtime.query.proxy.send(admission, connection_id, passed_on(headers), body)
            try:
                now = time.perf_counter()
                timing = b"broker;dur=%.1f, bank;dur=%.1f" % ((asked - began) * 1000, (now - asked) * 1000)
                await send(_start(answer, timing, accompaniment))
                started = True
                await _stream(answer, departure, send)
            finally:
                answer.close()
        if departure.has_happened and not started:
            accompaniment.status = CLIENT_CLOSED_REQUEST
            await send({"type": "http.response.start", "status": CLIENT_CLOSED_REQUEST})
    except BrokerError as error:
        if started:
            # Too late for another answer: leaving without the end makes the server cut the connection.
            logger.warning("answer_broken_off", code=error.code, connection_id=connection_id)
            return
        await _refuse(error, headers, accompaniment, send)
    except Exception:
        if started:
            raise
        logger.exception("query_crashed", connection_id=connection_id)
        fault = BrokerError("the broker has a fault; its log tells more under this request_id")
        await _refuse(fault, headers, accompaniment, send)
    finally:
        accompaniment.end()


async def _take(
    runtime: Runtime, headers: dict[bytes, bytes], scope: Scope, receive: Receive
) -> tuple[Admission, bytes]:
    """Return the caller's admission, and the body, which is read only if the caller may query. Raises BrokerError."""
    admission = await admit(runtime, scope, headers.get(b"authorization", b"").decode("latin-1"))
    admission.require(Permission.GRAPHQL_QUERY)
    limit = runtime.settings.max_query_bytes
    body = await read_body(headers, receive, limit, partial(keep, runtime, admission, scope))
    await admission.confirm()
    if Permission.GRAPHQL_MUTATE not in admission.caller.permissions:
        _require_json(headers.get(b"content-type", b""))
        # The bank must read the body as what it was inspected as.
        headers[b"content-type"] = b"application/json"
        if await runtime.query.mutations.may_mutate(admission.tenant, admission.id, body):
            admission.require(Permission.GRAPHQL_MUTATE)
        await admission.confirm()
    return admission, body


def _require_json(content_type: bytes) -> None:
    """What is looked into as JSON in UTF-8 must not be read as something else by the bank."""
    media_type, _, parameters = content_type.lower().replace(b" ", b"").partition(b";")
    if media_type not in _JSON or parameters not in _UTF_8:
        raise InvalidRequest(
            "send the query as application/json, with no parameter but charset=utf-8", code="content_type_unsupported"
        )


def _start(answer: BankResponse, timing: bytes, accompaniment: Accompaniment) -> dict[str, object]:
    accompaniment.status = answer.status
    passed_back = _PASSED_BACK - {b"content-length"} if answer.status in _WITHOUT_BODY else _PASSED_BACK
    headers = [field for field in answer.header_fields if field[0] in passed_back]
    headers.append((b"server-timing", timing))
    headers.append((b"broker-token-version", b"%d" % answer.token_version))
    headers += accompaniment.fields()
    return {"type": "http.response.start", "status": answer.status, "headers": headers}


async def _stream(answer: BankResponse, departure: Departure, send: Send) -> None:
    """Pass the body on as fast as the caller takes it."""
    if (whole := answer.read_if_complete()) is not None:
        await send({"type": "http.response.body", "body": whole})
        return
    departure.watch()
    # The server holds the head back until something follows it, and the bank may take its time with that.
    await send({"type": "http.response.body", "body": b"", "more_body": True})
    async for chunk in answer.stream():
        await send({"type": "http.response.body", "body": chunk, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


async def _refuse(error: BrokerError, asked: Mapping[bytes, bytes], accompaniment: Accompaniment, send: Send) -> None:
    if error.status >= 500:
        logger.warning("query_failed", code=error.code, exc_info=error)
    status, headers, body = render_graphql_error(error, asked.get(b"accept", b""), accompaniment.request_id)
    accompaniment.status = status
    if isinstance(error, MethodNotAllowed):
        headers["allow"] = "POST"
    headers["content-length"] = str(len(body))
    await send(
        {
            "type": "http.response.start",
            "status": status,
            "headers": [
                *((name.encode(), value.encode()) for name, value in headers.items()),
                *accompaniment.fields(),
            ],
        }
    )
    await send({"type": "http.response.body", "body": body})
