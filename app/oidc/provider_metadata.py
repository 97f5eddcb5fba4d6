"""The provider's metadata, from its discovery document and the settings (OpenID Connect Discovery 1.0 section 3)."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlsplit

from app.errors import BankResponseInvalid

# Bounds the time that parsing a URL takes, since it blocks the event loop.
_MAX_URL_LENGTH = 2_000

ParUse = Literal["auto", "on", "off"]
DpopUse = Literal["off", "on"]


@dataclass(frozen=True, slots=True)
class ProviderMetadata:
    """The endpoints and capabilities that the broker uses."""

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    revocation_endpoint: str | None = None
    pushed_authorization_request_endpoint: str | None = None
    """None if authorization requests are not pushed (RFC 9126)."""
    uses_dpop: bool = False
    """Whether the tokens of new logins are bound to a key of the broker (RFC 9449)."""
    client_assertion_algorithm: str = "RS256"
    """RS256, as Stitch documents it, unless the provider supports only PS256."""
    authorization_response_iss_parameter_supported: bool = False

    @property
    def client_assertion_audience(self) -> str:
        """The `aud` of client assertions.

        A provider that accepts pushed requests must accept its issuer identifier (RFC 9126 section 2), and only that
        cannot be misused at another endpoint (FAPI 2.0 Security Profile 5.3.3). Stitch documents the token endpoint.
        """
        return self.token_endpoint if self.pushed_authorization_request_endpoint is None else self.issuer


@dataclass(frozen=True, slots=True)
class Extensions:
    """Which extensions are used: `auto` (if the provider announces it), `on` (always) or `off` (never).

    DPoP is never discovered: many issuers announce algorithms for it, which says nothing about the API that the tokens
    are for.
    """

    par: ParUse = "auto"
    dpop: DpopUse = "off"


@dataclass(frozen=True, slots=True)
class EndpointOverrides:
    """Endpoints from the settings. They take precedence over the discovery document."""

    authorization_endpoint: str | None = None
    token_endpoint: str | None = None
    revocation_endpoint: str | None = None
    jwks_uri: str | None = None
    pushed_authorization_request_endpoint: str | None = None

    @property
    def are_sufficient(self) -> bool:
        """True if no discovery document is needed."""
        return None not in (self.authorization_endpoint, self.token_endpoint, self.jwks_uri)


NO_OVERRIDES = EndpointOverrides()
DEFAULT_EXTENSIONS = Extensions()


@dataclass(frozen=True, slots=True)
class MetadataReader:
    """Reads discovery documents of one issuer."""

    issuer: str
    overrides: EndpointOverrides
    extensions: Extensions
    is_url_allowed: Callable[[str], bool]

    def read(self, document: Mapping[str, object]) -> ProviderMetadata:
        """Return the metadata. `document` may be empty if the overrides are sufficient. Raises BankResponseInvalid."""
        return ProviderMetadata(
            issuer=self.issuer,
            authorization_endpoint=self._endpoint(document, "authorization_endpoint"),
            token_endpoint=self._endpoint(document, "token_endpoint"),
            jwks_uri=self._endpoint(document, "jwks_uri"),
            revocation_endpoint=self._optional_endpoint(document, "revocation_endpoint"),
            pushed_authorization_request_endpoint=self._par_endpoint(document),
            uses_dpop=self.extensions.dpop == "on",
            client_assertion_algorithm=_client_assertion_algorithm(document),
            authorization_response_iss_parameter_supported=(
                document.get("authorization_response_iss_parameter_supported") is True
            ),
        )

    def _par_endpoint(self, document: Mapping[str, object]) -> str | None:
        name = "pushed_authorization_request_endpoint"
        match self.extensions.par:
            case "on":
                return self._endpoint(document, name)
            case "auto":
                return self._optional_endpoint(document, name)
            case "off":
                return None

    def _optional_endpoint(self, document: Mapping[str, object], name: str) -> str | None:
        is_known = getattr(self.overrides, name) is not None or document.get(name) not in (None, "")
        return self._endpoint(document, name) if is_known else None

    def _endpoint(self, document: Mapping[str, object], name: str) -> str:
        override: str | None = getattr(self.overrides, name)
        if override is not None:
            return override
        url = document.get(name)
        if not isinstance(url, str) or not self._is_usable(url):
            raise BankResponseInvalid(f"the discovery document has no usable {name}; set BROKER_STITCH_{name.upper()}")
        return url

    def _is_usable(self, url: str) -> bool:
        # An endpoint has no fragment (RFC 6749 sections 3.1 and 3.2).
        if len(url) > _MAX_URL_LENGTH or not url.isascii() or "#" in url or not self.is_url_allowed(url):
            return False
        # HTTP is allowed for services on this machine, but an issuer on the network must not name one of them.
        return urlsplit(self.issuer).scheme != "https" or urlsplit(url).scheme == "https"


def _client_assertion_algorithm(document: Mapping[str, object]) -> str:
    """Choose an algorithm for an RSA key. FAPI 2.0 Security Profile 5.4 forbids RS256."""
    algorithms = document.get("token_endpoint_auth_signing_alg_values_supported")
    supports_only_ps256 = isinstance(algorithms, list) and "PS256" in algorithms and "RS256" not in algorithms
    return "PS256" if supports_only_ps256 else "RS256"
