"""PostgreSQL connection URIs in libpq's syntax, translated for asyncpg.

Source: PostgreSQL documentation, 32.1.1 Connection Strings and 32.1.2 Parameter Key Words.
"""

import ssl
from pathlib import Path
from urllib.parse import parse_qsl, quote, unquote, urlsplit

# asyncpg handles these differently or not at all, and would send unknown parameters to the server as settings.
_UNSUPPORTED_BY_ASYNCPG = frozenset(
    {
        *("channel_binding", "connect_timeout", "fallback_application_name", "gssdelegation", "gssencmode"),
        *("keepalives", "keepalives_count", "keepalives_idle", "keepalives_interval", "load_balance_hosts"),
        *("max_protocol_version", "min_protocol_version", "sslcertmode", "sslcompression", "sslsni"),
        "tcp_user_timeout",
    }
)
# Ignoring these would be less safe than the URL asks for. None: any value.
_REFUSED = {"channel_binding": "require", "gssencmode": "require", "require_auth": None, "requirepeer": None}
_SYSTEM_CERTIFICATES = "system"


def check_database_url(url: str) -> None:
    """Raise ValueError if a URL is malformed or asks for more than the driver can do."""
    if not url.startswith(("postgresql://", "postgres://")):
        raise ValueError("must start with postgresql://")
    try:
        parts = urlsplit(url)
    except ValueError:
        # The message of the original error may quote the password.
        raise ValueError("is not a valid URL; percent-encode special characters in the password") from None
    for host in parts.netloc.rpartition("@")[2].split(","):
        port = host.rpartition("]")[2].partition(":")[2]
        if port and not (port.isascii() and port.isdigit()):
            raise ValueError("a port must be a number")
    parameters = parse_qsl(parts.query)
    for name, value in parameters:
        if name in _REFUSED and _REFUSED[name] in (None, value):
            raise ValueError(f"{name}={value} is not supported; remove it, and set sslmode=verify-full")
        if name == "sslrootcert":
            path = _system_certificates() if value == _SYSTEM_CERTIFICATES else value
            if not Path(path).is_file():
                raise ValueError("the file of sslrootcert does not exist")
    # libpq demands this too; asyncpg would verify no certificate otherwise.
    values = dict(parameters)
    if values.get("sslrootcert") == _SYSTEM_CERTIFICATES and values.get("sslmode") != "verify-full":
        raise ValueError("sslrootcert=system needs sslmode=verify-full")


def to_asyncpg_url(url: str) -> str:
    """Return the URL without the parameters that asyncpg does not know, and with `system` certificates as a path."""
    beginning, _, query = url.partition("?")
    parameters = [
        f"sslrootcert={quote(_system_certificates())}"
        if unquote(parameter) == f"sslrootcert={_SYSTEM_CERTIFICATES}"
        else parameter
        for parameter in query.split("&")
        if parameter and unquote(parameter.partition("=")[0]) not in _UNSUPPORTED_BY_ASYNCPG
    ]
    return "?".join([beginning, "&".join(parameters)]) if parameters else beginning


def _system_certificates() -> str:
    """Return the path of the certificates that this machine trusts."""
    paths = ssl.get_default_verify_paths()
    return paths.cafile or paths.openssl_cafile
