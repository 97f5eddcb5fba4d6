"""The errors of the bank's OIDC endpoints, and their responses."""

from collections.abc import Mapping

from fastapi import Request
from starlette.responses import JSONResponse


class OAuthError(Exception):
    """An error response of the token or revocation endpoint (RFC 6749, section 5.2)."""

    def __init__(self, code: str, description: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(description)
        self.code = code
        self.description = description
        self.headers = headers or {}


class InvalidParameterError(Exception):
    """An invalid parameter of the authorization endpoint. The response is 400 with JSON, as at Stitch."""

    def __init__(self, parameter: str, message: str) -> None:
        super().__init__(message)
        self.parameter = parameter
        self.message = message


async def oauth_error_response(_: Request, error: Exception) -> JSONResponse:
    """Render an `OAuthError`, always as 400: Stitch does so even if client authentication failed."""
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
