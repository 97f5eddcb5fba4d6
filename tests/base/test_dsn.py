from pathlib import Path
from urllib.parse import unquote

import pytest

from app.base.dsn import as_the_driver_has_it, check_address


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
def test_what_libpq_takes_is_taken(url: str) -> None:
    check_address(url)


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("mysql://db/broker", "postgresql://"),
        ("postgresql://db:notaport/broker", "port"),
        ("postgresql://[::1]:x/broker", "port"),
        ("postgresql://db/broker?channel_binding=require", "channel_binding=require"),
        ("postgresql://db/broker?require_auth=scram-sha-256", "require_auth"),
        ("postgresql://db/broker?sslrootcert=system", "needs sslmode=verify-full"),
        ("postgresql://db/broker?sslmode=require&sslrootcert=%73ystem", "needs sslmode=verify-full"),
        ("postgresql://db/broker?sslmode=verify-full&sslrootcert=/nowhere/ca.pem", "file of sslrootcert is not there"),
    ],
)
def test_what_cannot_be_used_or_kept_is_refused_and_named(url: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        check_address(url)


@pytest.mark.parametrize("url", ["postgresql://u:se\uff1acret@h/db", "postgresql://u:[secret]x@h/db"])
def test_a_password_that_spoils_the_address_is_not_shown(url: str) -> None:
    with pytest.raises(ValueError, match="percent-encode") as refused:
        check_address(url)
    assert "cret" not in str(refused.value)


def test_what_the_driver_would_take_for_a_setting_of_the_server_is_left_out() -> None:
    url = "postgresql://u:p%40@a:1,b:2/broker?connect_timeout=5&host=%2Frun&keepalives_idle=3&application_name=x%20y"
    kept = "postgresql://u:p%40@a:1,b:2/broker?host=%2Frun&application_name=x%20y"
    assert as_the_driver_has_it(url) == kept
    assert as_the_driver_has_it("postgresql:///broker") == "postgresql:///broker"


def test_the_certificates_that_this_machine_trusts_are_found_for_the_driver() -> None:
    url = as_the_driver_has_it("postgresql://db/broker?sslmode=verify-full&sslrootcert=system")
    name, _, path = url.rpartition("=")
    assert name == "postgresql://db/broker?sslmode=verify-full&sslrootcert"
    assert Path(unquote(path)).is_absolute()
    check_address("postgresql://db/broker?sslmode=verify-full&sslrootcert=system")
