from pathlib import Path
from urllib.parse import unquote

import pytest

from app.base.database_url import check_database_url, to_asyncpg_url


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://",
        "postgres://broker@db/broker",
        "postgresql://a:5432,b:5433/broker?target_session_attrs=read-write",
        "postgresql://[::1]:5432/broker",
        "postgresql:///broker?host=/var/run/postgresql",
        "postgresql://broker@%2Fvar%2Frun/broker",
        "postgresql://db/broker?channel_binding=prefer&gssencmode=disable&sslmode=verify-full",
    ],
)
def test_urls_that_libpq_accepts_are_accepted(url: str) -> None:
    check_database_url(url)


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("mysql://db/broker", "postgresql://"),
        ("postgresql://db:notaport/broker", "port"),
        ("postgresql://[::1]:x/broker", "port"),
        ("postgresql://db/broker?channel_binding=require", "channel_binding=require"),
        ("postgresql://db/broker?require_auth=scram-sha-256", "require_auth"),
        ("postgresql://db/broker?sslrootcert=system", "needs sslmode=verify-full"),
        ("postgresql://db/broker?sslmode=require&sslrootcert=%73ystem", "needs sslmode=verify-full"),
        (
            "postgresql://db/broker?sslmode=verify-full&sslrootcert=/nowhere/ca",
            "file of sslrootcert does not exist",
        ),
    ],
)
def test_unsupported_urls_are_refused_with_the_reason(url: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        check_database_url(url)


@pytest.mark.parametrize("url", ["postgresql://u:se\uff1acret@h/db", "postgresql://u:[secret]x@h/db"])
def test_a_password_that_makes_the_url_invalid_is_not_shown(url: str) -> None:
    with pytest.raises(ValueError, match="percent-encode") as refused:
        check_database_url(url)
    assert "cret" not in str(refused.value)


def test_parameters_that_asyncpg_would_send_to_the_server_are_removed() -> None:
    url = "postgresql://u:p%40@a:1,b:2/broker?connect_timeout=5&host=%2Frun&keepalives_idle=3&application_name=x%20y"
    kept = "postgresql://u:p%40@a:1,b:2/broker?host=%2Frun&application_name=x%20y"
    assert to_asyncpg_url(url) == kept
    assert to_asyncpg_url("postgresql:///broker") == "postgresql:///broker"


def test_system_certificates_are_replaced_by_their_path() -> None:
    url = to_asyncpg_url("postgresql://db/broker?sslmode=verify-full&sslrootcert=system")
    name, _, path = url.rpartition("=")
    assert name == "postgresql://db/broker?sslmode=verify-full&sslrootcert"
    assert Path(unquote(path)).is_absolute()
    check_database_url("postgresql://db/broker?sslmode=verify-full&sslrootcert=system")
