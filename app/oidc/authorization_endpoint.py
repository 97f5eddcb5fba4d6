"""Starts logins: creates authorization requests and their URLs, and pushes them if supported (RFC 9126)."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

from pydantic import SecretStr

from app.errors import BankRequestRejected, BankResponseInvalid, UnprocessableRequest
from app.observability.logs import get_logger
from app.oidc.authorization_request import AuthorizationRequest, new_authorization_request
from app.oidc.back_channel import BackChannel
from app.oidc.oauth_errors import parse_error_code, parse_error_description, raise_for_error
from app.oidc.response_body import parse_json_object
from app.oidc.transport import BankResponse

logger = get_logger(__name__)
_REQUEST_URI = re.compile(r"[!-~]{1,2000}")


@dataclass(frozen=True, slots=True)
class AuthorizationUrl:
    """The URL that starts a login. That of a pushed request works once, and only for a short time."""

    url: SecretStr
    is_pushed: bool


class AuthorizationEndpoint:
    """Creates authorization requests and their URLs for one client."""

    def __init__(self, back_channel: BackChannel, *, client_id: str, timeout: float, prompt: str | None = None) -> None:
        """`timeout` is in seconds. `prompt` is sent with every request (OpenID Connect Core 3.1.2.1)."""
        self._back_channel = back_channel
        self._client_id = client_id
        self._timeout = timeout
        self._prompt = prompt

    async def new_request(self, *, redirect_uri: str, scopes: Sequence[str]) -> AuthorizationRequest:
        """Create the request of a new login. Raises BankError."""
        return new_authorization_request(
            client_id=self._client_id,
            redirect_uri=redirect_uri,
            scopes=scopes,
            prompt=self._prompt,
            proof_key=await self._back_channel.new_proof_key(),
        )

    async def url_for(self, parameters: SecretStr, *, callers_scopes: Sequence[str] = ()) -> AuthorizationUrl:
        """Return the URL for form-encoded parameters, which are pushed first if the provider supports that.

        The same request may be pushed again. Raises BankError, or UnprocessableRequest if the bank does not allow the
        scopes, which the caller has named (`callers_scopes`).
        """
        metadata = await self._back_channel.metadata()
        par_endpoint = metadata.pushed_authorization_request_endpoint
        if par_endpoint is None:
            return AuthorizationUrl(_with_query(metadata.authorization_endpoint, parameters), is_pushed=False)
        form = dict(parse_qsl(parameters.get_secret_value()))

        def raise_for_rejection(response: BankResponse, now: datetime) -> None:
            _raise_for_rejection(response, form, callers_scopes)
            raise_for_error(response, now)

        response = await self._back_channel.post(
            par_endpoint,
            form,
            endpoint="pushed_authorization_request",
            timeout_seconds=self._timeout,
            raise_for_error=raise_for_rejection,
        )
        # FAPI 2.0 Security Profile 5.3.3: the browser carries no other parameter.
        reference = {"client_id": self._client_id, "request_uri": _parse_request_uri(response.text())}
        query = SecretStr(urlencode(reference, quote_via=quote))
        return AuthorizationUrl(_with_query(metadata.authorization_endpoint, query), is_pushed=True)


def _raise_for_rejection(response: BankResponse, form: Mapping[str, str], callers_scopes: Sequence[str]) -> None:
    """Raise the error that says whose setting is wrong if the bank rejects a pushed request. It quotes no response."""
    error_code = parse_error_code(response) if response.status == 400 else None
    if error_code in (None, "invalid_client", "unauthorized_client", "invalid_grant"):
        return
    logger.warning("pushed_request_rejected", oauth_error=error_code)
    if error_code == "invalid_scope":
        description = parse_error_description(response)
        if callers_scopes:
            raise scopes_not_allowed(_named_scopes(description, callers_scopes))
        scopes = " ".join(_named_scopes(description, form["scope"].split()))
        advice = f"it does not allow the client these scopes: {scopes}; correct BROKER_STITCH_SCOPES"
    else:
        advice = (
            f"have the bank register the redirect URI {form['redirect_uri']} (BROKER_PUBLIC_URL + /callback) for the "
            "client, check BROKER_STITCH_CLIENT_ID and BROKER_STITCH_PROMPT, or set BROKER_STITCH_PAR=off"
        )
    raise BankRequestRejected(f"the bank refused the login request with {error_code}: {advice}")


def _named_scopes(description: str, scopes: Sequence[str]) -> list[str]:
    """Return which of `scopes` the bank names in its description of the error; all of them if it names none."""
    words = {word.strip("'\"`.:;()[]") for word in re.split(r"[\s,]+", description)}
    # `openid` is in every request; a bank that lists all scopes does not mean this one.
    return [scope for scope in scopes if scope in words and scope != "openid"] or list(scopes)


def _parse_request_uri(text: str) -> str:
    """Return the `request_uri` of a pushed authorization response (RFC 9126 section 2.2)."""
    try:
        request_uri = parse_json_object(text).get("request_uri")
    except ValueError as error:
        raise BankResponseInvalid("the bank's answer to a pushed authorization request is not a JSON object") from error
    # It becomes part of a URL, so only printable ASCII is accepted.
    if not isinstance(request_uri, str) or not _REQUEST_URI.fullmatch(request_uri):
        raise BankResponseInvalid("the bank's answer to a pushed authorization request has no usable request_uri")
    return request_uri


def _with_query(endpoint: str, query: SecretStr) -> SecretStr:
    separator = "&" if urlsplit(endpoint).query else "?"
    return SecretStr(f"{endpoint}{separator}{query.get_secret_value()}")


def scopes_not_allowed(scopes: Sequence[str]) -> UnprocessableRequest:
    """Return the error for scopes that the bank does not allow the client."""
    return UnprocessableRequest(f"the bank does not allow these scopes: {' '.join(scopes)}", code="scope_not_allowed")
