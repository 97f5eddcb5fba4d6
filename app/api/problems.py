"""Errors as RFC 9457 problem documents: the one place where a BrokerError becomes a response."""

import math
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from app.api.context import request_id_of
from app.errors import BrokerError, UnauthorizedCaller
from app.logs import get_logger

MEDIA_TYPE = "application/problem+json"
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
    faults = [
        {"location": ".".join(str(part) for part in fault["loc"]), "message": str(fault["msg"])}
        for fault in error.errors()
    ]
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
    code = "invalid_json" if status == HTTPStatus.BAD_REQUEST else status.name.lower()
    return problem(
        request,
        status=error.status_code,
        code=code,
        title=status.phrase,
        detail=f"{status.description or status.phrase}; see /docs",
        headers=dict(error.headers or {}),
    )


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


def _summary(faults: Sequence[dict[str, Any]]) -> str:
    return "; ".join(f"{fault['location']}: {fault['message']}" for fault in faults[:5])
