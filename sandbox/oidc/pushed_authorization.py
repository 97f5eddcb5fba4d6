"""The pushed authorization request endpoint (RFC 9126)."""

from fastapi import APIRouter, Request
from starlette.datastructures import QueryParams
from starlette.responses import JSONResponse

from sandbox.bank import BankDependency
from sandbox.oidc.authorization_request import validate_authorization_request
from sandbox.oidc.errors import InvalidParameterError, OAuthError
from sandbox.oidc.form import read_form
from sandbox.oidc.pushed_request_store import LIFETIME_SECONDS

router = APIRouter()


@router.post("/connect/par")
async def push(request: Request, bank: BankDependency) -> JSONResponse:
    """Store an authorization request; the browser will refer to it by its `request_uri`."""
    if bank.faults.pushed_requests == "none":
        raise OAuthError("invalid_request", "This bank does not accept pushed requests.")
    form = await read_form(request)
    bank.clients.authenticate(request.headers.get("authorization"), form, bank.assertion_audiences)
    try:
        pushed = validate_authorization_request(QueryParams(form), bank.settings)
    except InvalidParameterError as error:
        raise OAuthError("invalid_scope" if error.parameter == "scope" else "invalid_request", error.message) from error
    bank.ledger.pushed_requests += 1
    members = {"request_uri": bank.pushed_requests.add(pushed), "expires_in": LIFETIME_SECONDS}
    return JSONResponse(members, 201, {"cache-control": "no-store"})
