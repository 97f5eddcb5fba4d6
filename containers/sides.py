"""The gateway's two sides: browsers reach pages and no call, services reach calls, and nobody what is for operators."""

import httpx

from app.demo.broker import Broker
from app.demo.exchange import open_client
from app.demo.expectations import expect, expect_that
from app.demo.printing import Printer
from containers.stack import Stack

_CALLS = ("/v1/sessions", "/v1/connections", "/v1/audit", "/v1/callers", "/docs", "/openapi.json")
_FOR_OPERATORS = ("/metrics", "/readyz", "/healthz")
_TRICKS = ("/callback/../v1/sessions", "/static/%2e%2e/v1/sessions", "//v1/sessions", "/V1/sessions")
_PAGES = ("/callback", "/connect/unknown", "/static/pages.css")


def look_at_sides(printer: Printer, stack: Stack, broker: Broker) -> None:
    """See which side answers what."""
    key = {"authorization": broker.client.headers["authorization"]}
    public = open_client(stack.public_url, key, broker.transport)
    internal = open_client(stack.internal_url, key, broker.transport)
    with printer.step("What browsers can reach, and what they cannot") as step:
        for path in (*_CALLS, *_FOR_OPERATORS, *_TRICKS):
            _require_kept_out(public, path)
        for path in _PAGES:
            expect_that(_reaches_broker(public.get(path)), expected=f"that {path} reaches the broker", came="no")
        expect(404, public.post("/callback").status_code, what="the status of POST /callback")
        step.came(f"no call, even with a key: {', '.join(_CALLS)}")
        step.note(f"pages: {', '.join(_PAGES)}")
    with printer.step("What services can reach, and what they cannot") as step:
        for path in (*_FOR_OPERATORS, "/callback", "/connect/unknown"):
            _require_kept_out(internal, path)
        for path in _CALLS:
            expect_that(_reaches_broker(internal.get(path)), expected=f"that {path} reaches the broker", came="no")
        step.came("calls and docs, and neither pages nor what is for operators")
    with printer.step("TLS and HSTS on both sides") as step:
        for client in (public, internal):
            hsts = client.get("/static/pages.css").headers.get("strict-transport-security", "")
            expect_that(hsts.startswith("max-age="), expected="Strict-Transport-Security", came=hsts or "none")
            plain = open_client(str(client.base_url).replace("https:", "http:"), transport=broker.transport)
            expect(400, plain.get("/static/pages.css").status_code, what="the status without TLS")
        step.came(f"{hsts}; without TLS 400")


def _require_kept_out(client: httpx.Client, path: str) -> None:
    response = client.get(path)
    expect(404, response.status_code, what=f"the status of {path}")
    expect_that(not _reaches_broker(response), expected=f"that {path} does not reach the broker", came="it does")


def _reaches_broker(response: httpx.Response) -> bool:
    return "x-request-id" in response.headers
