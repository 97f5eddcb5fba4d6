"""The settings, read from the environment once at start-up and passed down from there.

Every variable has the prefix `BROKER_`. A secret may also come from a file whose path is in the same variable with
`_FILE` appended, as is usual for container secrets. A wrong setting stops the start with one line that names the
variable.
"""

import os
import re
from functools import cached_property
from ipaddress import ip_network
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self, TypeVar
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator, model_validator

from app.base.database_url import check_database_url
from app.base.encryption import KeyRing
from app.base.urls import require_https_or_loopback
from app.errors import ConfigurationError

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

PREFIX = "BROKER_"
# The database refuses to delete younger audit events (migrations/audit_log.py).
MIN_AUDIT_RETENTION_DAYS = 30
_PLAIN_PATH = re.compile(r"(/[A-Za-z0-9_-]+)*/*")
_MAY_COME_FROM_FILE = ("database_url", "database_listen_url", "stitch_client_secret", "encryption_keys")

CommaSeparated = tuple[str, ...]
SpaceSeparated = tuple[str, ...]


class DatabaseSettings(BaseModel):
    """Where the data is stored; all that migrations need."""

    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True, validate_default=True)

    # None: an embedded PostgreSQL in `data_dir`.
    database_url: SecretStr | None = None
    # A direct connection for LISTEN, if `database_url` leads to a transaction pooler.
    database_listen_url: SecretStr | None = None
    # Holds the spool and the embedded PostgreSQL.
    data_dir: Path = Path(".data")

    @field_validator("database_url", "database_listen_url")
    @classmethod
    def _is_postgresql(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not value.get_secret_value():
            return None
        if value is not None:
            check_database_url(value.get_secret_value())
        return value


class _EncryptionSettings(DatabaseSettings):
    # `name:base64 of 32 bytes`, comma-separated. The first key encrypts, all of them decrypt.
    encryption_keys: SecretStr

    @field_validator("encryption_keys")
    @classmethod
    def _is_a_key_ring(cls, value: SecretStr) -> SecretStr:
        try:
            KeyRing.parse(value.get_secret_value())
        except ConfigurationError as error:
            raise ValueError(error.detail) from None
        return value


class Settings(_EncryptionSettings):
    """All settings, in the order of docs/settings.md, which explains each. Durations are in seconds."""

    # The service
    public_url: str
    return_urls: CommaSeparated = ()
    trusted_proxies: CommaSeparated = ()
    stop_delay: float = Field(default=0, ge=0, le=60)
    metrics_port: int | None = Field(default=None, ge=1, le=65_535)
    query_page: bool = False
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["json", "console"] = "json"

    # The bank
    stitch_issuer: str = "https://secure.stitch.money"
    stitch_client_id: str = Field(min_length=1)
    stitch_client_secret: SecretStr | None = None
    stitch_client_auth: Literal["client_secret_post", "client_secret_basic", "private_key_jwt"] = "client_secret_post"
    stitch_private_key_file: Path | None = None
    # None: the key's thumbprint (RFC 7638).
    stitch_private_key_id: str | None = None
    # The only URL that user tokens are sent to.
    stitch_graphql_url: str = "https://api.stitch.money/graphql"
    stitch_scopes: SpaceSeparated = ("openid", "accounts", "balances", "transactions", "offline_access")
    # Each of these overrides the endpoint in the discovery document.
    stitch_authorization_endpoint: str | None = None
    stitch_token_endpoint: str | None = None
    stitch_revocation_endpoint: str | None = None
    stitch_jwks_uri: str | None = None
    stitch_pushed_authorization_request_endpoint: str | None = None
    stitch_prompt: Literal["login", "consent", "select_account"] | None = None
    # Pushed authorization requests (RFC 9126); auto: if the bank announces them.
    stitch_par: Literal["auto", "on", "off"] = "auto"
    # DPoP (RFC 9449) for new links. Not discovered: what an issuer announces says nothing about the GraphQL API.
    stitch_dpop: Literal["off", "on"] = "off"

    # Sessions, caching, retention; 0 days: forever
    session_ttl: int = Field(default=900, ge=1, le=86_400)
    cache_ttl: float = Field(default=5, ge=0, le=300)
    session_retention_days: int = Field(default=90, ge=0)
    refresh_retention_days: int = Field(default=30, ge=0)
    tombstone_retention_days: int = Field(default=0, ge=0)
    audit_retention_days: int = Field(default=0, ge=0)

    # JWTs that callers may present instead of an API key; off unless issuer and audience are set
    service_token_issuer: str | None = None
    service_token_audience: str | None = Field(default=None, min_length=1)
    service_token_tenant_claim: str = Field(default="tenant", min_length=1)
    service_token_permissions_claim: str = Field(default="permissions", min_length=1)

    # Webhooks; they may reach these networks in addition to public addresses
    webhook_private_networks: CommaSeparated = ()
    webhook_timeout: float = Field(default=10, ge=1, le=30)

    # Limits and timeouts of one replica; a rate or concurrency of 0 for callers: no limit
    caller_rate: int = Field(default=0, ge=0)
    caller_concurrency: int = Field(default=500, ge=0)
    query_concurrency: int = Field(default=2_000, ge=1, le=50_000)
    max_query_bytes: int = Field(default=1_048_576, ge=1_024)
    max_body_bytes: int = Field(default=65_536, ge=1_024)
    # Without a byte from the bank.
    query_timeout: float = Field(default=60, gt=0, le=600)
    # For discovery and JWKS.
    bank_timeout: float = Field(default=10, gt=0, le=120)
    refresh_deadline: float = Field(default=10, gt=0, le=120)
    refresh_lease: float = Field(default=20, gt=0, le=300)

    @field_validator("audit_retention_days")
    @classmethod
    def _allows_an_investigation(cls, value: int) -> int:
        if 0 < value < MIN_AUDIT_RETENTION_DAYS:
            raise ValueError(f"must be 0, which keeps everything, or at least {MIN_AUDIT_RETENTION_DAYS}")
        return value

    @field_validator("return_urls", "trusted_proxies", "webhook_private_networks", mode="before")
    @classmethod
    def _split_at_commas(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(part.strip() for part in value.split(",") if part.strip())
        return value

    @field_validator("stitch_scopes", mode="before")
    @classmethod
    def _split_at_spaces(cls, value: object) -> object:
        return tuple(value.split()) if isinstance(value, str) else value

    @field_validator("stitch_scopes")
    @classmethod
    def _contains_openid(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if "openid" not in value:
            raise ValueError("must contain openid")
        return value

    @field_validator("return_urls")
    @classmethod
    def _are_url_patterns(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for pattern in value:
            url = pattern.removesuffix("*")
            require_https_or_loopback(url)
            if "*" in url or (url != pattern and not url.endswith("/")):
                raise ValueError("may contain a * only at the end, after a slash")
            if url != pattern and ("?" in pattern or "#" in pattern):
                raise ValueError("must not have a query or fragment if it ends in /*")
        return value

    @field_validator("trusted_proxies", "webhook_private_networks")
    @classmethod
    def _are_networks(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for network in value:
            try:
                ip_network(network)
            except ValueError:
                raise ValueError("must be IP addresses or networks, such as 10.0.0.0/8") from None
        return value

    @field_validator("public_url")
    @classmethod
    def _has_a_plain_path(cls, value: str) -> str:
        if not _PLAIN_PATH.fullmatch(urlsplit(value).path):
            raise ValueError("must have a path of letters, digits, dashes and underscores only, or no path")
        return value

    @field_validator(
        "public_url",
        "stitch_issuer",
        "stitch_graphql_url",
        "stitch_authorization_endpoint",
        "stitch_token_endpoint",
        "stitch_revocation_endpoint",
        "stitch_jwks_uri",
        "stitch_pushed_authorization_request_endpoint",
        "service_token_issuer",
    )
    @classmethod
    def _is_https_or_loopback(cls, value: str | None) -> str | None:
        if value is not None:
            require_https_or_loopback(value)
        return value

    @field_validator("public_url", "stitch_issuer", "service_token_issuer")
    @classmethod
    def _has_no_query(cls, value: str | None) -> str | None:
        if value is not None and (urlsplit(value).query or urlsplit(value).fragment):
            raise ValueError("must not have a query or fragment")
        return value

    @model_validator(mode="after")
    def _are_consistent(self) -> Self:
        if self.stitch_client_auth == "private_key_jwt":
            if self.stitch_private_key_file is None:
                raise ValueError("STITCH_PRIVATE_KEY_FILE is needed for STITCH_CLIENT_AUTH=private_key_jwt")
            if not self.stitch_private_key_file.is_file():
                raise ValueError("STITCH_PRIVATE_KEY_FILE does not name a readable file")
        elif self.stitch_client_secret is None or not self.stitch_client_secret.get_secret_value():
            raise ValueError(f"STITCH_CLIENT_SECRET is needed for STITCH_CLIENT_AUTH={self.stitch_client_auth}")
        if (self.service_token_issuer is None) != (self.service_token_audience is None):
            raise ValueError("SERVICE_TOKEN_ISSUER and SERVICE_TOKEN_AUDIENCE go together; set both or neither")
        if self.service_token_issuer == self.stitch_issuer:
            raise ValueError("SERVICE_TOKEN_ISSUER must differ from STITCH_ISSUER, or a user could pose as a caller")
        if self.refresh_lease <= self.refresh_deadline:
            raise ValueError(
                "REFRESH_LEASE must be longer than REFRESH_DEADLINE, or two replicas could refresh at the same time"
            )
        return self

    @cached_property
    def base_url(self) -> str:
        """The public URL without a trailing slash."""
        return self.public_url.rstrip("/")

    @cached_property
    def path_prefix(self) -> str:
        """The path of the public URL without a trailing slash; empty if there is none."""
        return urlsplit(self.base_url).path

    @property
    def redirect_uri(self) -> str:
        """The URL that the bank sends the browser back to (RFC 6749 section 3.1.2)."""
        return f"{self.base_url}/callback"


AnySettings = TypeVar("AnySettings", bound=DatabaseSettings)


def load_settings() -> Settings:
    """Read all settings. Raises ConfigurationError with one line."""
    return _load(Settings)


def load_database_settings() -> DatabaseSettings:
    """Read only the settings of the database. Raises ConfigurationError with one line."""
    return _load(DatabaseSettings)


def load_key_ring() -> KeyRing:
    """Read only the encryption keys. Raises ConfigurationError with one line."""
    return KeyRing.parse(_load(_EncryptionSettings).encryption_keys.get_secret_value())


def _load(kind: type[AnySettings]) -> AnySettings:
    try:
        return kind(**(_values_from_variables(kind) | _secrets_from_files(kind)))
    except ValidationError as error:
        raise ConfigurationError("; ".join(_sentence(fault) for fault in error.errors(include_url=False))) from None


def _values_from_variables(kind: type[DatabaseSettings]) -> dict[str, Any]:
    # Names in lowercase are accepted too.
    variables = {name.upper(): value for name, value in os.environ.items()}
    names = {f"{PREFIX}{name.upper()}": name for name in kind.model_fields}
    return {name: variables[variable] for variable, name in names.items() if variable in variables}


def _secrets_from_files(kind: type[DatabaseSettings]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name in _MAY_COME_FROM_FILE:
        variable = f"{PREFIX}{name.upper()}"
        path = os.environ.get(f"{variable}_FILE")
        if not path or name not in kind.model_fields:
            continue
        if variable in os.environ:
            raise ConfigurationError(f"{variable} and {variable}_FILE are both set; keep one")
        try:
            values[name] = Path(path).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "not text"
            raise ConfigurationError(f"{variable}_FILE: {path} cannot be read: {reason}") from None
    return values


def _sentence(fault: "ErrorDetails") -> str:
    message = fault["msg"].removeprefix("Value error, ")
    if not fault["loc"]:
        return f"{PREFIX}{message}"
    variable = f"{PREFIX}{str(fault['loc'][0]).upper()}"
    return f"{variable} is not set" if fault["type"] == "missing" else f"{variable}: {message}"
