"""The GraphQL endpoint, with Stitch's responses to invalid tokens."""

import re
from typing import Any

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field, JsonValue, ValidationError
from starlette.responses import JSONResponse
from strawberry.schema.exceptions import CannotGetOperationTypeError
from strawberry.types import ExecutionResult

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
    operationName: str | None = None  # noqa: N815 - the name in the JSON body


@router.post("/graphql")
async def graphql(request: Request, bank: BankDependency) -> JSONResponse:
    """Execute one operation for the bearer of an access token."""
    try:
        access_token = _authenticate(request, bank)
    except OAuthError as error:
        bank.ledger.graphql_requests[error.code] += 1
        challenge = f'DPoP algs="{ALGORITHM}", error="{error.code}"'
        return JSONResponse({"errors": []}, 401, {"www-authenticate": challenge, **error.headers})
    if access_token is None:
        bank.ledger.graphql_requests["unauthenticated"] += 1
        return _unauthenticated(bank)
    bank.ledger.graphql_requests["ok"] += 1
    try:
        body = GraphQLRequest.model_validate_json(await request.body())
    except ValidationError as error:
        members = ", ".join(sorted({".".join(map(str, detail["loc"])) or "the body" for detail in error.errors()}))
        return _bad_request(f"The request is not valid GraphQL over HTTP: check {members}.")
    try:
        result = await schema.execute(
            body.query,
            variable_values=body.variables,
            context_value=Context(bank, access_token),
            operation_name=body.operationName,
        )
    except CannotGetOperationTypeError as error:
        return _bad_request(error.as_http_error_reason())
    headers = {"dpop-nonce": bank.proofs.nonce} if bank.faults.dpop_nonces else None
    return JSONResponse(_response_members(result), headers=headers)


def _authenticate(request: Request, bank: Bank) -> AccessToken | None:
    """Return the access token of the request, or None if it is not valid.

    Raises OAuthError if the token is bound to a key and the proof is wrong (RFC 9449, section 7).
    """
    match = CREDENTIALS.fullmatch(request.headers.get("authorization", ""))
    access_token = bank.tokens.valid_access_token(match["token"]) if match else None
    if match is None or access_token is None:
        return None
    if (access_token.jkt is not None) != (match["scheme"].lower() == "dpop"):
        return None
    if access_token.jkt is not None:
        thumbprint = bank.proofs.check(
            request.headers.get("dpop", ""),
            target=f"{bank.settings.issuer}/graphql",
            nonce_required=bank.faults.dpop_nonces,
            access_token=match["token"],
        )
        if thumbprint != access_token.jkt:
            raise OAuthError("invalid_dpop_proof", "The proof was made with another key.")
    return access_token


def _response_members(result: ExecutionResult) -> dict[str, object]:
    """Return `errors` and `data`; without `data` if the query was not executed (GraphQL, section 7.1)."""
    members: dict[str, object] = {}
    if result.errors:
        members["errors"] = [error.formatted for error in result.errors]
    if result.data is not None or not result.errors or any(error.path for error in result.errors):
        members["data"] = result.data
    return members


def _bad_request(message: str) -> JSONResponse:
    return JSONResponse({"errors": [{"message": message}]}, 400)


def _unauthenticated(bank: Bank) -> JSONResponse:
    code: dict[str, JsonValue] = {"code": "UNAUTHENTICATED"}
    match bank.faults.unauthenticated_shape:
        case "401":
            challenge = bank.faults.www_authenticate
            headers = {"www-authenticate": challenge} if challenge is not None else None
            return JSONResponse({"errors": [{"message": UNAUTHENTICATED}], "extensions": code}, 401, headers)
        case "200":
            return JSONResponse({"errors": [{"message": UNAUTHENTICATED}], "extensions": code})
        case "200-nested":
            return JSONResponse({"errors": [{"message": UNAUTHENTICATED, "extensions": code}]})
