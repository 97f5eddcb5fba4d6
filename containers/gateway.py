"""Checks what the gateway forwards: pages to browsers, the API to services, and operator endpoints to neither."""

import httpx

from app.demo.broker import Broker
from app.demo.exchange import open_client
from app.demo.expectations import expect, expect_that
from app.demo.printing import Printer
from containers.stack import Stack

_API_PATHS = ("/v1/sessions", "/v1/connections", "/v1/audit", "/v1/callers", "/docs", "/openapi.json")
_OPERATOR_PATHS = ("/metrics", "/readyz", "/healthz")
_OBFUSCATED_API_PATHS = ("/callback/../v1/sessions", "/static/%2e%2e/v1/sessions", "//v1/sessions", "/V1/sessions")
_PAGE_PATHS = ("/callback", "/connect/unknown", "/static/pages.css")


def check_gateway(printer: Printer, stack: Stack, broker: Broker) -> None:
    """Check which paths the public and the internal address forward, and that both require TLS."""
    key = {"authorization": broker.client.headers["authorization"]}
    public = open_client(stack.public_url, key, broker.transport)
    internal = open_client(stack.internal_url, key, broker.transport)
    with printer.step("Check what browsers can reach") as step:
        for path in (*_API_PATHS, *_OPERATOR_PATHS, *_OBFUSCATED_API_PATHS):
            _require_not_forwarded(public, path)
        for path in _PAGE_PATHS:
            _require_forwarded(public, path)
        expect(404, public.post("/callback").status_code, what="the status of POST /callback")
        step.received(f"not the API, even with a key: {', '.join(_API_PATHS)}")
        step.note(f"pages: {', '.join(_PAGE_PATHS)}")
    with printer.step("Check what services can reach") as step:
        for path in (*_OPERATOR_PATHS, "/callback", "/connect/unknown"):
            _require_not_forwarded(internal, path)
        for path in _API_PATHS:
            _require_forwarded(internal, path)
        step.received("the API and its documentation, but no pages and no operator endpoints")
    with printer.step("Check TLS and HSTS of both addresses") as step:
        for client in (public, internal):
            hsts = client.get("/static/pages.css").headers.get("strict-transport-security", "")
            expect_that(hsts.startswith("max-age="), expected="Strict-Transport-Security", actual=hsts or "none")
            plain = open_client(str(client.base_url).replace("https:", "http:"), transport=broker.transport)
            expect(400, plain.get("/static/pages.css").status_code, what="the status without TLS")
        step.received(f"{hsts}; without TLS 400")


def _require_forwarded(client: httpx.Client, path: str) -> None:
    response = client.get(path)
    expect_that(_is_from_broker(response), expected=f"that {path} reaches the broker", actual="it does not")


def _require_not_forwarded(client: httpx.Client, path: str) -> None:
    response = client.get(path)
    expect(404, response.status_code, what=f"the status of {path}")
    expect_that(not _is_from_broker(response), expected=f"that {path} does not reach the broker", actual="it does")


def _is_from_broker(response: httpx.Response) -> bool:
    return "x-request-id" in response.headers
