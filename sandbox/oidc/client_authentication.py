"""Authentication of the client at the token and revocation endpoints."""

import base64
import binascii
import json
import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import unquote_plus

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from sandbox.oidc.errors import OAuthError
from sandbox.settings import SandboxSettings

JWT_BEARER = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

LEEWAY_SECONDS = 5


@dataclass(frozen=True, repr=False)
class _Credentials:
    client_id: str
    client_secret: str


class ClientAuthenticator:
    """Authenticates the registered client, and rejects assertions that were already used."""

    def __init__(self, settings: SandboxSettings) -> None:
        self._settings = settings
        self._keys: KeySet | None = None
        if settings.client_jwks_file is not None:
            self._keys = KeySet.import_key_set(json.loads(settings.client_jwks_file.read_text()))
        self._used_assertions: dict[str, float] = {}

    def authenticate(self, authorization: str | None, form: Mapping[str, str], audiences: Sequence[str]) -> str:
        """Return the client id, after checking `client_secret_basic`, `client_secret_post` or `private_key_jwt`.

        `audiences` are the accepted values of `aud` in an assertion. Raises OAuthError: `invalid_request` if several
        methods are used, else `invalid_client`.
        """
        assertion = form.get("client_assertion")
        methods = [authorization is not None, "client_secret" in form, assertion is not None]
        if sum(methods) > 1:
            raise OAuthError("invalid_request", "Use only one method of client authentication.")
        if assertion is not None:
            self._check_assertion(assertion, form, audiences)
            return self._settings.client_id
        if authorization is not None:
            return self._check_secret(_basic(authorization))
        return self._check_secret(_Credentials(form.get("client_id", ""), form.get("client_secret", "")))

    def _check_secret(self, credentials: _Credentials) -> str:
        settings = self._settings
        registered = {
            settings.client_id: settings.client_secret,
            settings.other_client_id: settings.other_client_secret,
        }
        secret = registered.get(credentials.client_id)
        if secret is None or not secrets.compare_digest(credentials.client_secret.encode(), secret.encode()):
            raise OAuthError("invalid_client", "The client is unknown or its secret is wrong.")
        return credentials.client_id

    def _check_assertion(self, assertion: str, form: Mapping[str, str], audiences: Sequence[str]) -> None:
        """Check a signed assertion (RFC 7523, section 3)."""
        client_id = self._settings.client_id
        if form.get("client_id", client_id) != client_id:
            raise OAuthError("invalid_client", "The client is unknown.")
        if form.get("client_assertion_type") != JWT_BEARER or self._keys is None:
            raise OAuthError("invalid_client", "The client has no registered keys, or the assertion type is unknown.")
        try:
            claims = jwt.decode(assertion, self._keys, algorithms=["RS256"]).claims
            self._assertion_rules(audiences).validate(claims)
        except (JoseError, ValueError) as error:
            raise OAuthError("invalid_client", "The assertion's signature or claims are invalid.") from error
        now = time.time()
        self._used_assertions = {jti: expiry for jti, expiry in self._used_assertions.items() if expiry > now}
        if str(claims["jti"]) in self._used_assertions:
            raise OAuthError("invalid_client", "The assertion was already used.")
        self._used_assertions[str(claims["jti"])] = claims["exp"] + LEEWAY_SECONDS

    def _assertion_rules(self, audiences: Sequence[str]) -> jwt.JWTClaimsRegistry:
        client_id = self._settings.client_id
        return jwt.JWTClaimsRegistry(
            leeway=LEEWAY_SECONDS,
            iss={"essential": True, "value": client_id},
            sub={"essential": True, "value": client_id},
            aud={"essential": True, "values": list(audiences)},
            exp={"essential": True},
            jti={"essential": True},
        )


def _basic(authorization: str) -> _Credentials:
    """Parse HTTP Basic credentials, whose two parts are form-encoded (RFC 6749, section 2.3.1)."""
    scheme, _, credentials = authorization.partition(" ")
    try:
        client_id, colon, client_secret = base64.b64decode(credentials, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError) as error:
        raise OAuthError("invalid_client", "The Authorization header is not HTTP Basic.") from error
    if scheme.lower() != "basic" or not colon:
        raise OAuthError("invalid_client", "The Authorization header is not HTTP Basic.")
    return _Credentials(unquote_plus(client_id), unquote_plus(client_secret))
