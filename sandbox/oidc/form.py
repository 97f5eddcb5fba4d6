"""Strict parsing of form-encoded requests."""

from fastapi import Request

from sandbox.oidc.errors import OAuthError


async def read_form(request: Request) -> dict[str, str]:
    """Return the parameters, each of which may occur only once (RFC 6749, sections 3.2 and 4.1.3).

    Raises OAuthError `invalid_request`.
    """
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/x-www-form-urlencoded":
        raise OAuthError("invalid_request", "Send application/x-www-form-urlencoded.")
    form: dict[str, str] = {}
    for name, value in (await request.form()).multi_items():
        if name in form or not isinstance(value, str):
            raise OAuthError("invalid_request", f"The parameter {name} was sent more than once.")
        form[name] = value
    return form
