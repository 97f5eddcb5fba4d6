"""Client authentication: how the broker proves its identity to the provider (RFC 6749 section 2.3.1, RFC 7523)."""

import base64
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol
from urllib.parse import quote_plus

from joserfc.errors import JoseError
from pydantic import SecretStr

from app.base.clock import Clock
from app.base.randomness import random_urlsafe_text
from app.errors import ConfigurationError
from app.oidc.provider_metadata import ProviderMetadata

if TYPE_CHECKING:
    from joserfc.jwk import RSAKey

_ASSERTION_LIFETIME = 60  # seconds
_ALGORITHMS = ["RS256", "PS256"]
_ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


class ClientAuthentication(Protocol):
    """Adds client authentication to a request."""

    def apply(self, form: dict[str, str], headers: dict[str, str], metadata: ProviderMetadata) -> None:
        """Add the credentials to `form` or `headers`."""
        ...


@dataclass(frozen=True, slots=True)
class ClientSecret:
    """`client_secret_post` and `client_secret_basic`."""

    client_id: str
    client_secret: SecretStr = field(repr=False)
    method: Literal["client_secret_post", "client_secret_basic"]

    def apply(self, form: dict[str, str], headers: dict[str, str], metadata: ProviderMetadata) -> None:
        """Add the secret to the form, or form-encoded to the Authorization header."""
        secret = self.client_secret.get_secret_value()
        if self.method == "client_secret_post":
            form.update(client_id=self.client_id, client_secret=secret)
            return
        credentials = f"{quote_plus(self.client_id)}:{quote_plus(secret)}"
        headers["authorization"] = f"Basic {base64.b64encode(credentials.encode()).decode()}"


@dataclass(frozen=True, slots=True)
class PrivateKeyJwt:
    """`private_key_jwt`: a short-lived assertion signed with an RSA key (OpenID Connect Core section 9)."""

    client_id: str
    key: "RSAKey" = field(repr=False)
    key_id: str
    clock: Clock

    def apply(self, form: dict[str, str], headers: dict[str, str], metadata: ProviderMetadata) -> None:
        """Add a new assertion to the form."""
        from joserfc import jwt

        now = int(self.clock.now().timestamp())
        claims = {
            "iss": self.client_id,
            "sub": self.client_id,
            "aud": metadata.client_assertion_audience,
            "jti": random_urlsafe_text(),
            "iat": now,
            "nbf": now,
            "exp": now + _ASSERTION_LIFETIME,
        }
        header = {"alg": metadata.client_assertion_algorithm, "kid": self.key_id}
        form.update(
            client_id=self.client_id,
            client_assertion_type=_ASSERTION_TYPE,
            client_assertion=jwt.encode(header, claims, self.key, algorithms=_ALGORITHMS),
        )


def load_private_key(client_id: str, path: Path, key_id: str | None, clock: Clock) -> PrivateKeyJwt:
    """Load a PEM file. The key id defaults to the key's thumbprint (RFC 7638). Raises ConfigurationError."""
    from joserfc.jwk import RSAKey

    try:
        key = RSAKey.import_key(path.read_bytes())
    except (OSError, ValueError, TypeError, JoseError) as error:
        raise ConfigurationError(f"BROKER_STITCH_PRIVATE_KEY_FILE: {path} is not a readable RSA key in PEM") from error
    if not key.is_private:
        raise ConfigurationError(
            f"BROKER_STITCH_PRIVATE_KEY_FILE: {path} holds a public key; the private one is needed"
        )
    return PrivateKeyJwt(client_id, key, key_id or key.thumbprint(), clock)
