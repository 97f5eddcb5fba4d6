"""The token endpoint (RFC 6749, section 3.2)."""

import base64
import hashlib
import secrets
import time

from fastapi import APIRouter, Request
from pydantic import JsonValue
from starlette.responses import JSONResponse

from sandbox.bank import Bank, BankDependency
from sandbox.faults import TokenFault, override
from sandbox.oidc.errors import OAuthError
from sandbox.oidc.form import read_form
from sandbox.oidc.id_token import create_id_token
from sandbox.tokens import Consent, InvalidRefreshTokenError, IssuedTokens

router = APIRouter()

GRANT_TYPES = ("authorization_code", "refresh_token")


@router.post("/connect/token")
async def token(request: Request, bank: BankDependency) -> JSONResponse:
    """Exchange a code or a refresh token for new tokens."""
    fault: TokenFault = getattr(request.state, "fault", TokenFault())
    grant_type = "unsupported"
    try:
        form = await read_form(request)
        if form.get("grant_type") in GRANT_TYPES:
            grant_type = form["grant_type"]
        client_id = bank.clients.authenticate(request.headers.get("authorization"), form, bank.assertion_audiences)
        jkt = _proven_key(request, bank)
        match grant_type:
            case "authorization_code":
                members = exchange_code(bank, form, fault, jkt)
            case "refresh_token":
                members = refresh(bank, client_id, form, fault, jkt)
            case _:
                raise OAuthError("unsupported_grant_type", "Use authorization_code or refresh_token.")
    except OAuthError as error:
        bank.ledger.token_requests[grant_type, error.code] += 1
        raise
    bank.ledger.token_requests[grant_type, "ok"] += 1
    headers = {"cache-control": "no-store", "pragma": "no-cache"}
    if bank.faults.dpop_nonces:
        headers["dpop-nonce"] = bank.proofs.nonce
    return JSONResponse(override(members, fault.token_response), headers=headers)


def _proven_key(request: Request, bank: Bank) -> str | None:
    """Return the thumbprint of the key in the client's DPoP proof, or None without a proof (RFC 9449, section 5)."""
    proof = request.headers.get("dpop")
    if bank.faults.dpop == "none":
        return None
    if proof is None:
        if bank.faults.dpop == "required":
            raise OAuthError("invalid_dpop_proof", "The proof is missing.")
        return None
    return bank.proofs.check(
        proof, target=f"{bank.settings.issuer}/connect/token", nonce_required=bank.faults.dpop_nonces
    )


def exchange_code(bank: Bank, form: dict[str, str], fault: TokenFault, jkt: str | None) -> dict[str, JsonValue]:
    """Exchange a code; a second use revokes the tokens issued for the first one (RFC 6749, section 4.1.2)."""
    code = bank.codes.find(_required(form, "code"))
    if code is None:
        raise OAuthError("invalid_grant", "The code is unknown.")
    if code.family is not None:
        bank.tokens.revoke_family(code.family, "code_reused")
        raise OAuthError("invalid_grant", "The code was already used.")
    if code.expires_at <= time.time():
        raise OAuthError("invalid_grant", "The code has expired.")
    if _required(form, "redirect_uri") != code.request.redirect_uri:
        raise OAuthError("invalid_grant", "The redirect_uri differs from that of the authorization request.")
    if not matches_challenge(_required(form, "code_verifier"), code.request.code_challenge):
        raise OAuthError("invalid_grant", "The code_verifier does not match the code_challenge.")
    if bank.faults.dpop != "none" and code.request.dpop_jkt not in (None, jkt):
        raise OAuthError("invalid_grant", "The code is bound to another key.")
    code.family = bank.tokens.start_family(code.consent)
    bank.ledger.codes_exchanged += 1
    issued = bank.tokens.issue(code.family, jkt=jkt)
    id_token = create_id_token(
        bank,
        code.consent,
        access_token=issued.access_token,
        fault=fault,
        nonce=code.request.nonce,
        state=code.request.state,
    )
    return token_response(issued, id_token)


def refresh(
    bank: Bank, client_id: str, form: dict[str, str], fault: TokenFault, jkt: str | None
) -> dict[str, JsonValue]:
    """Rotate a refresh token (RFC 6749, section 6; RFC 9700, section 4.14.2)."""
    try:
        if client_id != bank.settings.client_id:
            # Every grant belongs to the first client.
            bank.tokens.count_presentation(_required(form, "refresh_token"))
            raise InvalidRefreshTokenError("The refresh token was issued to another client.")
        family = bank.tokens.use_refresh_token(_required(form, "refresh_token"), reuse_grace=bank.refresh_reuse_grace)
    except InvalidRefreshTokenError as error:
        raise OAuthError("invalid_grant", str(error)) from error
    scope = tuple(form.get("scope", "").split()) or family.consent.scope
    if not set(scope) <= set(family.consent.scope):
        raise OAuthError("invalid_scope", "The scope exceeds what the user granted.")
    issued = bank.tokens.issue(family, scope, jkt=jkt)
    id_token = create_id_token(bank, family.consent, access_token=issued.access_token, fault=fault)
    return token_response(issued, id_token)


def issue_grant(bank: Bank, consent: Consent) -> dict[str, JsonValue]:
    """Issue the tokens of a consent without a browser login, for load tests."""
    issued = bank.tokens.issue(bank.tokens.start_family(consent))
    id_token = create_id_token(bank, consent, access_token=issued.access_token, fault=TokenFault())
    return token_response(issued, id_token)


def token_response(issued: IssuedTokens, id_token: str) -> dict[str, JsonValue]:
    """Return the members of the token response in Stitch's documentation."""
    members: dict[str, JsonValue] = {
        "id_token": id_token,
        "access_token": issued.access_token,
        "expires_in": issued.expires_in,
        "token_type": issued.token_type,
        "scope": " ".join(issued.scope),
    }
    if issued.refresh_token is not None:
        members["refresh_token"] = issued.refresh_token
    return members


def matches_challenge(code_verifier: str, code_challenge: str) -> bool:
    """Return whether a verifier belongs to an S256 challenge (RFC 7636, section 4.6)."""
    challenge = base64.urlsafe_b64encode(hashlib.sha256(code_verifier.encode()).digest()).rstrip(b"=")
    return 43 <= len(code_verifier) <= 128 and secrets.compare_digest(challenge, code_challenge.encode())


def _required(form: dict[str, str], name: str) -> str:
    if not form.get(name):
        raise OAuthError("invalid_request", f"The parameter {name} is missing.")
    return form[name]
