"""The revocation endpoint (RFC 7009)."""

from fastapi import APIRouter, Request
from starlette.responses import Response

from sandbox.bank import BankDependency
from sandbox.oidc.errors import OAuthError
from sandbox.oidc.form import read_form

router = APIRouter()


@router.post("/connect/revocation")
async def revoke(request: Request, bank: BankDependency) -> Response:
    """Revoke a token. An unknown token also gets an empty 200 (section 2.2)."""
    form = await read_form(request)
    bank.clients.authenticate(request.headers.get("authorization"), form, bank.assertion_audiences)
    if not form.get("token"):
        raise OAuthError("invalid_request", "The parameter token is missing.")
    bank.tokens.revoke(form["token"])
    bank.ledger.revocations += 1
    return Response()
