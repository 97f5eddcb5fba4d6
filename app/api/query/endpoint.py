"""`POST /v1/connections/{id}/graphql`: the query path, a plain ASGI endpoint.

A route of the web framework would cost more CPU than everything that is done here (decision 5).
`app/api/docs/openapi.py` documents the call like any other.
"""

import re
import time
from collections.abc import Mapping
from functools import partial

from starlette.types import Receive, Scope, Send

from app.api.middleware import RequestRecord
from app.api.problems import internal_error
from app.api.query.body import read_body
from app.api.query.client_disconnect import CLIENT_CLOSED_REQUEST, ClientDisconnect, DisconnectWatcher
from app.api.query.errors import render_graphql_error
from app.api.query.headers import forwarded_headers
from app.api.request_context import admit, require_single_headers, reserve_body_bytes
from app.callers.admission import Admission
from app.callers.permissions import Permission
from app.errors import BrokerError, InvalidRequest, MethodNotAllowed
from app.observability.logs import get_logger
from app.query.proxy import BankResponse
from app.runtime import Runtime

ROUTE = "/v1/connections/{connection_id}/graphql"
_PATH = re.compile(r"/v1/connections/([^/]{1,255})/graphql")
_RETURNED_HEADERS = frozenset(
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
# The Content-Length of these responses is that of another one (RFC 9110 section 8.6).
_STATUSES_WITHOUT_BODY = (204, 304)
_JSON_TYPES = (b"application/json", b"application/graphql+json")
_UTF_8_PARAMETERS = (b"", b"charset=utf-8", b'charset="utf-8"')
logger = get_logger(__name__)


def match_query_path(scope: Scope) -> str | None:
    """Return the connection's id if the request is for the query path."""
    match = _PATH.fullmatch(scope["path"])
    return match[1] if match else None


async def serve_query(
    runtime: Runtime, connection_id: str, scope: Scope, receive: Receive, send: Send, *, disconnects: DisconnectWatcher
) -> None:
    """Authenticate and authorise the caller, send the query to the bank with the token, and stream the response."""
    started_at = time.perf_counter()
    scope["broker.route"] = ROUTE
    record = RequestRecord(scope, runtime.core.shutdown, scope["method"])
    headers: dict[bytes, bytes] = dict(scope["headers"])
    has_started = False
    try:
        if len(headers) < len(scope["headers"]):
            require_single_headers(scope)
        if scope["method"] != "POST":
            raise MethodNotAllowed("use POST")
        admission, body = await _admit_and_read(runtime, headers, scope, receive)
        with disconnects.watch(receive) as disconnect:
            sent_at = time.perf_counter()
            response = await runtime.query.proxy.send(admission, connection_id, forwarded_headers(headers), body)
            try:
                now = time.perf_counter()
                timing = b"broker;dur=%.1f, bank;dur=%.1f" % ((sent_at - started_at) * 1000, (now - sent_at) * 1000)
                await send(_start(response, timing, record))
                has_started = True
                await _stream(response, disconnect, send)
            finally:
                response.close()
        if disconnect.has_happened and not has_started:
            record.status = CLIENT_CLOSED_REQUEST
            await send({"type": "http.response.start", "status": CLIENT_CLOSED_REQUEST})
    except BrokerError as error:
        if has_started:
            # The status has been sent. Returning without the end of the body makes the server close the connection.
            logger.warning("response_interrupted", code=error.code, connection_id=connection_id)
            return
        await _send_error(error, headers, record, send)
    except Exception:
        if has_started:
            raise
        logger.exception("query_crashed", connection_id=connection_id)
        await _send_error(internal_error(), headers, record, send)
    finally:
        record.end()


async def _admit_and_read(
    runtime: Runtime, headers: dict[bytes, bytes], scope: Scope, receive: Receive
) -> tuple[Admission, bytes]:
    """Return the caller's admission, and the body, which is read only if the caller may query. Raises BrokerError."""
    admission = await admit(runtime, scope, headers.get(b"authorization", b"").decode("latin-1"))
    admission.require(Permission.GRAPHQL_QUERY)
    body = await read_body(
        headers,
        receive,
        partial(reserve_body_bytes, runtime, admission, scope),
        max_bytes=runtime.settings.max_query_bytes,
        timeout_seconds=runtime.callers.body_budget.timeout_seconds,
    )
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
    """Reject a body that the bank could parse differently than the broker, which inspects it as JSON in UTF-8."""
    media_type, _, parameters = content_type.lower().replace(b" ", b"").partition(b";")
    if media_type not in _JSON_TYPES or parameters not in _UTF_8_PARAMETERS:
        raise InvalidRequest(
            "send the query as application/json, with no parameter but charset=utf-8", code="content_type_unsupported"
        )


def _start(response: BankResponse, timing: bytes, record: RequestRecord) -> dict[str, object]:
    record.status = response.status
    returned = (
        _RETURNED_HEADERS - {b"content-length"} if response.status in _STATUSES_WITHOUT_BODY else _RETURNED_HEADERS
    )
    headers = [field for field in response.header_fields if field[0] in returned]
    headers.append((b"server-timing", timing))
    headers.append((b"broker-token-version", b"%d" % response.token_version))
    headers += record.response_headers()
    return {"type": "http.response.start", "status": response.status, "headers": headers}


async def _stream(response: BankResponse, disconnect: ClientDisconnect, send: Send) -> None:
    """Stream the body as fast as the caller reads it."""
    if (whole := response.read_if_complete()) is not None:
        await send({"type": "http.response.body", "body": whole})
        return
    disconnect.watch_now()
    # The server sends the headers together with the first part of the body, which may take the bank a while.
    await send({"type": "http.response.body", "body": b"", "more_body": True})
    async for chunk in response.stream():
        await send({"type": "http.response.body", "body": chunk, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


async def _send_error(
    error: BrokerError, request_headers: Mapping[bytes, bytes], record: RequestRecord, send: Send
) -> None:
    if error.status >= 500:
        logger.warning("query_failed", code=error.code, exc_info=error)
    status, headers, body = render_graphql_error(error, request_headers.get(b"accept", b""), record.request_id)
    record.status = status
    if isinstance(error, MethodNotAllowed):
        headers["allow"] = "POST"
    headers["content-length"] = str(len(body))
    await send(
        {
            "type": "http.response.start",
            "status": status,
            "headers": [
                *((name.encode(), value.encode()) for name, value in headers.items()),
                *record.response_headers(),
            ],
        }
    )
    await send({"type": "http.response.body", "body": body})
