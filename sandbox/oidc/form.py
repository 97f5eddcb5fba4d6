"""Reading of form-encoded requests, strictly."""

from fastapi import Request

from sandbox.oidc.errors import OAuthError


async def read_form(request: Request) -> dict[str, str]:
    """Return the parameters, each of which may stand once (RFC 6749, sections 3.2 and 4.1.3)."""
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/x-www-form-urlencoded":
        raise OAuthError("invalid_request", "Send application/x-www-form-urlencoded.")
    form: dict[str, str] = {}
    for name, value in (await request.form()).multi_items():
        if name in form or not isinstance(value, str):
            raise OAuthError("invalid_request", f"The parameter {name} is given more than once.")
        form[name] = value
    return form
