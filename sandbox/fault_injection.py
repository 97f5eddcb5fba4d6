"""ASGI middleware that applies endpoint faults, up to dropping the connection."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from urllib.parse import parse_qs

from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response, StreamingResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sandbox.bank import Bank
from sandbox.faults import EndpointFault, FaultyEndpoint
from sandbox.server import drop_connection

ENDPOINTS: dict[str, FaultyEndpoint] = {
    "/.well-known/openid-configuration": "discovery",
    "/.well-known/openid-configuration/jwks": "jwks",
    "/connect/par": "par",
    "/connect/token": "token",
    "/connect/revocation": "revocation",
    "/graphql": "graphql",
}

PADDING = b"x" * 65_536


@dataclass(frozen=True)
class FaultInjection:
    """The outermost middleware: passes requests on, or applies the fault of their endpoint."""

    application: ASGIApp
    bank: Bank

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request; apply the fault of its endpoint if there is one."""
        endpoint = ENDPOINTS.get(scope["path"]) if scope["type"] == "http" else None
        if endpoint is None or getattr(self.bank.faults, endpoint) is None:
            await self.application(scope, receive, send)
            return
        # The body is read first, so that the bank processes the request even if its client disconnects during a delay.
        body = await _read_body(receive)
        fault = self.bank.faults.take(endpoint, grant_type=_grant_type(body))
        if fault is None:
            await self.application(scope, _replay(body, receive), send)
            return
        scope.setdefault("state", {})["fault"] = fault
        await asyncio.sleep(fault.delay)
        if fault.hang is not None:
            self.bank.ledger.answered_by_fault[endpoint] += 1
            await asyncio.sleep(fault.hang)
            await drop_connection(scope, receive)
        elif (response := _response_without_processing(fault)) is not None:
            self.bank.ledger.answered_by_fault[endpoint] += 1
            await response(scope, receive, send)
        else:
            await self._process_and_corrupt_response(fault, body, scope, receive, send)

    async def _process_and_corrupt_response(
        self, fault: EndpointFault, body: bytes, scope: Scope, receive: Receive, send: Send
    ) -> None:
        messages: list[Message] = []

        async def collect(message: Message) -> None:
            messages.append(message)

        await self.application(scope, _replay(body, receive), collect)
        await asyncio.sleep(fault.delay_after)
        if fault.lose_answer:
            await drop_connection(scope, receive)
            return
        if fault.half_answer:
            start, content = messages[0], b"".join(message.get("body", b"") for message in messages[1:])
            await send(start)
            await send({"type": "http.response.body", "body": content[: len(content) // 2], "more_body": True})
            await drop_connection(scope, receive)
            return
        for message in messages:
            await send(message)


def _response_without_processing(fault: EndpointFault) -> Response | None:
    if fault.status is not None:
        headers = {} if fault.retry_after is None else {"retry-after": str(fault.retry_after)}
        return PlainTextResponse("The bank is unavailable.", fault.status, headers)
    if fault.error is not None:
        return JSONResponse({"error": fault.error, "error_description": "A fault injected by the sandbox."}, 400)
    if fault.garbage:
        return Response("<html>Down for maintenance", media_type="application/json")
    if fault.huge is not None:
        return StreamingResponse(
            _huge_json(fault.huge),
            media_type="application/json",
            headers={"content-length": str(fault.huge)},
        )
    if fault.redirect is not None:
        return RedirectResponse(fault.redirect, 302)
    return None


async def _huge_json(size: int) -> AsyncIterator[bytes]:
    before, after = b'{"data":{"filling":"', b'"}}'
    yield before
    remaining = size - len(before) - len(after)
    while remaining > 0:
        yield PADDING[:remaining]
        remaining -= len(PADDING)
    yield after


async def _read_body(receive: Receive) -> bytes:
    body = bytearray()
    while True:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body", False):
            return bytes(body)


def _replay(body: bytes, receive: Receive) -> Receive:
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive_replayed() -> Message:
        return messages.pop() if messages else await receive()

    return receive_replayed


def _grant_type(body: bytes) -> str | None:
    values = parse_qs(body.decode("ascii", "replace")).get("grant_type")
    return values[0] if values else None
