"""The two ways in which the bank's OIDC endpoints refuse."""

from collections.abc import Mapping

from fastapi import Request
from starlette.responses import JSONResponse


class OAuthError(Exception):
    """A refusal of the token or revocation endpoint (RFC 6749, section 5.2)."""

    def __init__(self, code: str, description: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(description)
        self.code = code
        self.description = description
        self.headers = headers or {}


class InvalidParameterError(Exception):
    """A refusal of the authorization endpoint: a 400 page of JSON, as Stitch has it, and no redirect."""

    def __init__(self, parameter: str, message: str) -> None:
        super().__init__(message)
        self.parameter = parameter
        self.message = message


async def oauth_error_response(_: Request, error: Exception) -> JSONResponse:
    """Render an `OAuthError`; Stitch answers 400 also to failed client authentication."""
    assert isinstance(error, OAuthError)
    return JSONResponse(
        {"error": error.code, "error_description": error.description},
        400,
        {"cache-control": "no-store", **error.headers},
    )


async def invalid_parameter_response(_: Request, error: Exception) -> JSONResponse:
    """Render an `InvalidParameterError`."""
    assert isinstance(error, InvalidParameterError)
    return JSONResponse({error.parameter: [error.message]}, 400)
