"""Addresses of PostgreSQL as libpq has them (PostgreSQL documentation, 32.1.2 Parameter Key Words)."""

import ssl
from pathlib import Path
from urllib.parse import parse_qsl, quote, unquote, urlsplit

# The driver does these in its own way or not at all, and takes what it does not know for a setting of the server.
_NOT_OF_THE_DRIVER = frozenset(
    {
        *("channel_binding", "connect_timeout", "fallback_application_name", "gssdelegation", "gssencmode"),
        *("keepalives", "keepalives_count", "keepalives_idle", "keepalives_interval", "load_balance_hosts"),
        *("max_protocol_version", "min_protocol_version", "sslcertmode", "sslcompression", "sslsni"),
        "tcp_user_timeout",
    }
)
# To leave these out would be less safe than what was asked for.
_DEMANDS = {"channel_binding": "require", "gssencmode": "require", "require_auth": None, "requirepeer": None}
_SYSTEM = "system"


def check_address(url: str) -> None:
    """Raise ValueError where an address cannot be used, or asks for more than the driver can do."""
    if not url.startswith(("postgresql://", "postgres://")):
        raise ValueError("must start with postgresql://")
    try:
        parts = urlsplit(url)
    except ValueError:
        # Its words quote what may be the password.
        raise ValueError("cannot be read as an address; percent-encode what is special in a password") from None
    for host in parts.netloc.rpartition("@")[2].split(","):
        port = host.rpartition("]")[2].partition(":")[2]
        if port and not (port.isascii() and port.isdigit()):
            raise ValueError("a port must be a number")
    for name, value in parse_qsl(parts.query):
        if name in _DEMANDS and _DEMANDS[name] in (None, value):
            raise ValueError(f"{name}={value} cannot be kept; leave it out, and set sslmode=verify-full")
        if name == "sslrootcert" and not Path(_trusted() if value == _SYSTEM else value).is_file():
            raise ValueError("the file of sslrootcert is not there")
    given = dict(parse_qsl(parts.query))
    # As libpq has it; the driver would look at no certificate otherwise.
    if given.get("sslrootcert") == _SYSTEM and given.get("sslmode") != "verify-full":
        raise ValueError("sslrootcert=system needs sslmode=verify-full")


def as_the_driver_has_it(url: str) -> str:
    """Return the address without the parameters that the driver would not understand, and its own word for others."""
    beginning, _, query = url.partition("?")
    kept = [one for one in query.split("&") if one and unquote(one.partition("=")[0]) not in _NOT_OF_THE_DRIVER]
    kept = [f"sslrootcert={quote(_trusted())}" if unquote(one) == f"sslrootcert={_SYSTEM}" else one for one in kept]
    return "?".join([beginning, "&".join(kept)]) if kept else beginning


def _trusted() -> str:
    """Return the file of the certificates that this machine trusts."""
    paths = ssl.get_default_verify_paths()
    return paths.cafile or paths.openssl_cafile
