"""Renders errors as problem documents (RFC 9457). Only this module and `query/errors.py` render a BrokerError."""

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
# Pydantic's error types for a body that is no object, or was not parsed because its media type is not JSON.
_NOT_AN_OBJECT = ("model_attributes_type", "dict_type")
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
    """Return the headers that belong to an error."""
    headers: dict[str, str] = {}
    if error.retry_after is not None:
        headers["retry-after"] = str(max(1, math.ceil(error.retry_after)))
    if isinstance(error, UnauthorizedCaller):
        headers["www-authenticate"] = 'Bearer realm="broker"'
    return headers


async def render_broker_error(request: Request, error: Exception) -> ProblemResponse:
    """Render a BrokerError."""
    assert isinstance(error, BrokerError)
    if error.status >= 500:
        logger.warning("request_failed", code=error.code, exc_info=error)
    return problem_of(request, error)


def problem_of(request: Request, error: BrokerError) -> ProblemResponse:
    """Return the problem document of an error."""
    return problem(
        request,
        status=error.status,
        code=error.code,
        title=error.title,
        detail=error.detail,
        headers=broker_error_headers(error),
    )


async def render_validation_error(request: Request, error: Exception) -> ProblemResponse:
    """Say what is wrong with a request, without repeating what it contains."""
    assert isinstance(error, RequestValidationError)
    errors = error.errors()
    if errors and errors[0]["type"] == "json_invalid":
        reason, position = errors[0]["ctx"]["error"], errors[0]["loc"][-1]
        return problem_of(request, invalid_json(reason, position))
    faults = [
        {"location": ".".join(str(part) for part in fault["loc"]), "message": _message(fault)} for fault in errors
    ]
    return problem(
        request,
        status=422,
        code="invalid_request",
        title="The request is not valid",
        detail=_summary(faults),
        errors=faults,
    )


def invalid_json(reason: str, position: int) -> InvalidRequest:
    """Return the error for a body that is not JSON from this position, a number of characters."""
    return InvalidRequest(f"the body is not JSON: {reason}, after {position} characters", code="invalid_json")


async def render_http_exception(request: Request, error: Exception) -> ProblemResponse:
    """Render an error of the web framework: no such route, no such method."""
    assert isinstance(error, HTTPException)
    if isinstance(error.__cause__, BrokerError):
        # The framework wraps errors that occur while it reads a body.
        return await render_broker_error(request, error.__cause__)
    status = HTTPStatus(error.status_code)
    headers = {name.lower(): value for name, value in (error.headers or {}).items()}
    if status == HTTPStatus.METHOD_NOT_ALLOWED:
        # Other pages, such as /docs, can only be read.
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
    """Return the methods of a path. The framework only knows those of the first route that matches."""
    routes: Sequence[APIRoute] = request.app.state.routes
    matching = [route for route in routes if route.matches(request.scope)[0] is not Match.NONE]
    methods = {method for route in matching for method in route.methods or ()}
    return ", ".join(sorted(methods | ({"HEAD"} if "GET" in methods else set())))


async def render_unexpected(request: Request, error: Exception) -> ProblemResponse:
    """Render an internal error. Only the log has the details."""
    logger.error("request_crashed", exc_info=error)
    return problem_of(request, internal_error())


def internal_error() -> BrokerError:
    """Return the error that is shown if there is a bug in the broker."""
    return BrokerError("the broker has an internal error; see its log for this request_id")


def install_problem_handlers(app: FastAPI) -> None:
    """Register these functions for every kind of error."""
    app.add_exception_handler(BrokerError, render_broker_error)
    app.add_exception_handler(RequestValidationError, render_validation_error)
    app.add_exception_handler(HTTPException, render_http_exception)
    app.add_exception_handler(Exception, render_unexpected)


def _message(fault: Mapping[str, Any]) -> str:
    if fault["loc"] == ("body",) and fault["type"] in _NOT_AN_OBJECT:
        return "Send a JSON object, with `Content-Type: application/json`"
    return str(fault["msg"])


def _summary(faults: Sequence[dict[str, Any]]) -> str:
    return "; ".join(f"{fault['location']}: {fault['message']}" for fault in faults[:5])
