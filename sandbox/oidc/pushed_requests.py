"""Pushed authorization requests (RFC 9126)."""

from fastapi import APIRouter, Request
from starlette.datastructures import QueryParams
from starlette.responses import JSONResponse

from sandbox.bank import BankDependency
from sandbox.oidc.authorization_request import validated
from sandbox.oidc.errors import InvalidParameterError, OAuthError
from sandbox.oidc.form import read_form
from sandbox.oidc.pushed_store import LIFETIME

router = APIRouter()


@router.post("/connect/par")
async def push(request: Request, bank: BankDependency) -> JSONResponse:
    """Keep a request for the browser that is to come with its `request_uri`."""
    if bank.faults.pushed_requests == "none":
        raise OAuthError("invalid_request", "This bank takes no pushed requests.")
    form = await read_form(request)
    bank.clients.authenticate(request.headers.get("authorization"), form, bank.assertion_audiences)
    try:
        pushed = validated(QueryParams(form), bank.settings)
    except InvalidParameterError as error:
        raise OAuthError("invalid_request", error.message) from error
    bank.ledger.pushed_requests += 1
    answer = {"request_uri": bank.pushed_requests.keep(pushed), "expires_in": LIFETIME}
    return JSONResponse(answer, 201, {"cache-control": "no-store"})
