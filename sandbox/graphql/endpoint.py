"""The GraphQL endpoint, with Stitch's way of refusing tokens."""

import re
from typing import Any

from fastapi import APIRouter, Request
from pydantic import BaseModel, JsonValue, ValidationError
from starlette.responses import JSONResponse

from sandbox.bank import Bank, BankDependency
from sandbox.graphql.context import Context
from sandbox.graphql.schema import schema
from sandbox.tokens import AccessToken

router = APIRouter()

UNAUTHENTICATED = "UNAUTHENTICATED: Token is expired or malformed"

BEARER = re.compile(r"Bearer ([A-Za-z0-9._~+/-]+=*)", re.IGNORECASE)


class GraphQLRequest(BaseModel):
    """The body of a request (GraphQL over HTTP, section 5)."""

    query: str
    variables: dict[str, Any] | None = None
    operationName: str | None = None  # noqa: N815 - its name on the wire


@router.post("/graphql")
async def graphql(request: Request, bank: BankDependency) -> JSONResponse:
    """Execute one operation for the holder of an access token."""
    access_token = _authenticate(request, bank)
    if access_token is None:
        bank.ledger.graphql_requests["unauthenticated"] += 1
        return _unauthenticated(bank)
    bank.ledger.graphql_requests["ok"] += 1
    try:
        asked = GraphQLRequest.model_validate_json(await request.body())
    except ValidationError:
        return JSONResponse({"errors": [{"message": "The request is not GraphQL over HTTP."}]}, 400)
    result = await schema.execute(
        asked.query,
        variable_values=asked.variables,
        context_value=Context(bank, access_token),
        operation_name=asked.operationName,
    )
    answer: dict[str, object] = {}
    if result.errors:
        answer["errors"] = [error.formatted for error in result.errors]
    if result.data is not None or not result.errors or any(error.path for error in result.errors):
        answer["data"] = result.data
    return JSONResponse(answer)


def _authenticate(request: Request, bank: Bank) -> AccessToken | None:
    match = BEARER.fullmatch(request.headers.get("authorization", ""))
    return bank.tokens.valid_access_token(match[1]) if match else None


def _unauthenticated(bank: Bank) -> JSONResponse:
    code: dict[str, JsonValue] = {"code": "UNAUTHENTICATED"}
    match bank.faults.unauthenticated_shape:
        case "401":
            return JSONResponse({"errors": [{"message": UNAUTHENTICATED}], "extensions": code}, 401)
        case "200":
            return JSONResponse({"errors": [{"message": UNAUTHENTICATED}], "extensions": code})
        case "200-nested":
            return JSONResponse({"errors": [{"message": UNAUTHENTICATED, "extensions": code}]})
