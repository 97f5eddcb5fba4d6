"""The GraphQL endpoint, with Stitch's way of refusing tokens."""

import re
from typing import Any

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field, JsonValue, ValidationError
from starlette.responses import JSONResponse
from strawberry.schema.exceptions import CannotGetOperationTypeError

from sandbox.bank import Bank, BankDependency
from sandbox.graphql.context import Context
from sandbox.graphql.schema import schema
from sandbox.oidc.dpop import ALGORITHM
from sandbox.oidc.errors import OAuthError
from sandbox.tokens import AccessToken

router = APIRouter()

UNAUTHENTICATED = "UNAUTHENTICATED: Token is expired or malformed"

CREDENTIALS = re.compile(r"(?P<scheme>Bearer|DPoP) (?P<token>[A-Za-z0-9._~+/-]+=*)", re.IGNORECASE)


class GraphQLRequest(BaseModel):
    """The body of a request (GraphQL over HTTP, section 5)."""

    query: str = Field(min_length=1)
    variables: dict[str, Any] | None = None
    operationName: str | None = None  # noqa: N815 - its name on the wire


@router.post("/graphql")
async def graphql(request: Request, bank: BankDependency) -> JSONResponse:
    """Execute one operation for the holder of an access token."""
    try:
        access_token = _authenticate(request, bank)
    except OAuthError as refusal:
        bank.ledger.graphql_requests[refusal.code] += 1
        challenge = f'DPoP algs="{ALGORITHM}", error="{refusal.code}"'
        return JSONResponse({"errors": []}, 401, {"www-authenticate": challenge, **refusal.headers})
    if access_token is None:
        bank.ledger.graphql_requests["unauthenticated"] += 1
        return _unauthenticated(bank)
    bank.ledger.graphql_requests["ok"] += 1
    try:
        asked = GraphQLRequest.model_validate_json(await request.body())
    except ValidationError as error:
        members = ", ".join(sorted({".".join(map(str, fault["loc"])) or "the body" for fault in error.errors()}))
        return JSONResponse({"errors": [{"message": f"The request is not GraphQL over HTTP: look at {members}."}]}, 400)
    try:
        result = await schema.execute(
            asked.query,
            variable_values=asked.variables,
            context_value=Context(bank, access_token),
            operation_name=asked.operationName,
        )
    except CannotGetOperationTypeError as error:
        return JSONResponse({"errors": [{"message": error.as_http_error_reason()}]}, 400)
    answer: dict[str, object] = {}
    if result.errors:
        answer["errors"] = [error.formatted for error in result.errors]
    if result.data is not None or not result.errors or any(error.path for error in result.errors):
        answer["data"] = result.data
    return JSONResponse(answer, headers={"dpop-nonce": bank.proofs.nonce} if bank.faults.dpop_nonces else None)


def _authenticate(request: Request, bank: Bank) -> AccessToken | None:
    """Return the token of a request that may use it: a bound one with a proof only (RFC 9449, section 7)."""
    match = CREDENTIALS.fullmatch(request.headers.get("authorization", ""))
    known = bank.tokens.valid_access_token(match["token"]) if match else None
    if match is None or known is None or (known.jkt is not None) != (match["scheme"].lower() == "dpop"):
        return None
    if known.jkt is not None:
        target = f"{bank.settings.issuer}/graphql"
        shown = bank.proofs.check(
            request.headers.get("dpop", ""),
            target=target,
            wants_nonce=bank.faults.dpop_nonces,
            access_token=match["token"],
        )
        if shown != known.jkt:
            raise OAuthError("invalid_dpop_proof", "The proof is of another key.")
    return known


def _unauthenticated(bank: Bank) -> JSONResponse:
    code: dict[str, JsonValue] = {"code": "UNAUTHENTICATED"}
    match bank.faults.unauthenticated_shape:
        case "401":
            return JSONResponse({"errors": [{"message": UNAUTHENTICATED}], "extensions": code}, 401)
        case "200":
            return JSONResponse({"errors": [{"message": UNAUTHENTICATED}], "extensions": code})
        case "200-nested":
            return JSONResponse({"errors": [{"message": UNAUTHENTICATED, "extensions": code}]})
