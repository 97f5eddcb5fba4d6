"""Errors as RFC 9457 problem documents: the one place where a BrokerError becomes a response."""

import math
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.routing import Match

from app.api.request_context import request_id_of
from app.errors import BrokerError, InvalidRequest, UnauthorizedCaller
from app.observability.logs import get_logger

MEDIA_TYPE = "application/problem+json"
# What pydantic says of a body that is something else, or was not read as JSON for the lack of its media type.
_NO_OBJECT = ("model_attributes_type", "dict_type")
logger = get_logger(__name__)


class ProblemResponse(JSONResponse):
    """A problem document."""

    media_type = MEDIA_TYPE


def problem(
    request: Request,
    *,
    status: int,
    code: str,
    title: str,
    detail: str,
    headers: dict[str, str] | None = None,
    **extensions: object,
) -> ProblemResponse:
    """Render one problem."""
    content = {
        "type": f"urn:stitch-token-broker:error:{code}",
        "title": title,
        "status": status,
        "detail": detail,
        "code": code,
        "request_id": request_id_of(request.scope),
        **extensions,
    }
    return ProblemResponse(content, status, {"cache-control": "no-store", **(headers or {})})


def broker_error_headers(error: BrokerError) -> dict[str, str]:
    """Return the headers that go with an error."""
    headers: dict[str, str] = {}
    if error.retry_after is not None:
        headers["retry-after"] = str(max(1, math.ceil(error.retry_after)))
    if isinstance(error, UnauthorizedCaller):
        headers["www-authenticate"] = 'Bearer realm="broker"'
    return headers


async def render_broker_error(request: Request, error: Exception) -> ProblemResponse:
    """Render an error of the tree."""
    assert isinstance(error, BrokerError)
    if error.status >= 500:
        logger.warning("request_failed", code=error.code, exc_info=error)
    return problem(
        request,
        status=error.status,
        code=error.code,
        title=error.title,
        detail=error.detail,
        headers=broker_error_headers(error),
    )


async def render_validation_error(request: Request, error: Exception) -> ProblemResponse:
    """Say what is wrong with a request, never what it contained."""
    assert isinstance(error, RequestValidationError)
    found = error.errors()
    if found and found[0]["type"] == "json_invalid":
        reason, position = found[0]["ctx"]["error"], found[0]["loc"][-1]
        return problem(
            request,
            status=400,
            code="invalid_json",
            title=InvalidRequest.title,
            detail=f"the body is not JSON: {reason}, after {position} characters",
        )
    faults = [{"location": ".".join(str(part) for part in fault["loc"]), "message": _message(fault)} for fault in found]
    return problem(
        request,
        status=422,
        code="invalid_request",
        title="The request is not valid",
        detail=_summary(faults),
        errors=faults,
    )


async def render_http_exception(request: Request, error: Exception) -> ProblemResponse:
    """Render what the web framework refuses: no such route, no such method."""
    assert isinstance(error, HTTPException)
    if isinstance(error.__cause__, BrokerError):
        # The framework wraps whatever goes wrong while it reads a body.
        return await render_broker_error(request, error.__cause__)
    status = HTTPStatus(error.status_code)
    headers = {name.lower(): value for name, value in (error.headers or {}).items()}
    if status == HTTPStatus.METHOD_NOT_ALLOWED:
        # What is no call of the API, such as the docs, is only read.
        headers["allow"] = _methods_of(request) or "GET, HEAD"
    code = "invalid_json" if status == HTTPStatus.BAD_REQUEST else status.name.lower()
    return problem(
        request,
        status=error.status_code,
        code=code,
        title=status.phrase,
        detail=f"{status.description or status.phrase}; see /docs",
        headers=headers,
    )


def _methods_of(request: Request) -> str:
    """List what an address takes: the framework names the methods of the first of its routes alone."""
    routes: Sequence[APIRoute] = request.app.state.routes
    found = [route for route in routes if route.matches(request.scope)[0] is not Match.NONE]
    methods = {method for route in found for method in route.methods or ()}
    return ", ".join(sorted(methods | ({"HEAD"} if "GET" in methods else set())))


async def render_unexpected(request: Request, error: Exception) -> ProblemResponse:
    """Render a fault of ours, of which only the log tells more."""
    logger.error("request_crashed", exc_info=error)
    return problem(
        request,
        status=500,
        code=BrokerError.default_code,
        title=BrokerError.title,
        detail="the broker has a fault; its log tells more under this request_id",
    )


def install_problem_handlers(app: FastAPI) -> None:
    """Have every error rendered here."""
    app.add_exception_handler(BrokerError, render_broker_error)
    app.add_exception_handler(RequestValidationError, render_validation_error)
    app.add_exception_handler(HTTPException, render_http_exception)
    app.add_exception_handler(Exception, render_unexpected)


def _message(fault: Mapping[str, Any]) -> str:
    if fault["loc"] == ("body",) and fault["type"] in _NO_OBJECT:
        return "Send a JSON object, with `Content-Type: application/json`"
    return str(fault["msg"])


def _summary(faults: Sequence[dict[str, Any]]) -> str:
    return "; ".join(f"{fault['location']}: {fault['message']}" for fault in faults[:5])
