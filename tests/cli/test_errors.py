"""What a command says that cannot do its work: one line, exit status 1, no traceback and no secret."""

import base64
from pathlib import Path

import pytest

from tests.cli.conftest import Cli, Finished
from tests.support.broker import ENCRYPTION_KEY

COMMANDS = [
    ("callers", "list"),
    ("callers", "create", "x", "--permission", "admin"),
    ("callers", "disable", "x"),
    ("keys", "list", "x"),
    ("connections", "list"),
    ("connections", "show", "x"),
    ("connections", "revoke", "x"),
    ("sessions", "show", "x"),
    ("encryption", "status"),
    ("migrate",),
]


def assert_one_line(finished: Finished, *words: str) -> None:
    """Check that a command failed with one line that has these words."""
    assert finished.status == 1
    assert finished.out == ""
    assert finished.err.startswith("broker: ")
    assert finished.err.count("\n") == 1
    for word in words:
        assert word in finished.err


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
@pytest.mark.parametrize(
    "url",
    [
        "postgresql://user:planted-password@127.0.0.1:1/nowhere",
        "postgresql://user:planted-password@/nowhere?host=/nonexistent",
        "postgresql://user:planted-password@name.invalid/nowhere",
    ],
)
def test_an_unreachable_database_is_one_line(cli: Cli, command: tuple[str, ...], url: str) -> None:
    finished = cli(*command, BROKER_DATABASE_URL=url)
    assert_one_line(finished, "database")
    assert "planted-password" not in finished.err


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://user:planted-password@127.0.0.1:port/x",
        "postgresql://user:planted-password@127.0.0.1/x?sslmode=nonsense",
        "postgresql://[::1",
        "postgresql://user:planted-password@a:1,b:2,c/x?target_session_attrs=nonsense",
        "postgresql://user:planted-password@/x?host=a,b&port=1,2,3",
    ],
)
def test_an_address_that_is_none_is_one_line(cli: Cli, url: str) -> None:
    finished = cli("migrate", BROKER_DATABASE_URL=url)
    assert_one_line(finished, "BROKER_DATABASE_URL")
    assert "planted-password" not in finished.err


def test_a_database_that_does_not_exist_is_one_line(cli: Cli, environment: dict[str, str]) -> None:
    url = environment["BROKER_DATABASE_URL"].replace("/test_", "/nowhere_")
    for command in (("migrate",), ("callers", "list")):
        assert_one_line(cli(*command, BROKER_DATABASE_URL=url), "BROKER_DATABASE_URL")


def test_a_wrong_user_is_one_line(cli: Cli, environment: dict[str, str]) -> None:
    url = environment["BROKER_DATABASE_URL"].replace("://broker@", "://nobody-here:planted-password@")
    finished = cli("migrate", BROKER_DATABASE_URL=url)
    assert_one_line(finished)
    assert "planted-password" not in finished.err


class TestSettings:
    @pytest.mark.parametrize(
        "name",
        [
            "BROKER_PUBLIC_URL",
            "BROKER_STITCH_CLIENT_ID",
            "BROKER_STITCH_CLIENT_SECRET",
            "BROKER_ENCRYPTION_KEYS",
        ],
    )
    def test_a_missing_one_is_named(self, cli: Cli, name: str) -> None:
        for command in ("serve", "doctor"):
            assert_one_line(cli(command, **{name: None}), name)

    def test_all_that_are_missing_are_named_at_once(self, cli: Cli, environment: dict[str, str]) -> None:
        finished = cli("serve", **dict.fromkeys(environment))
        assert_one_line(finished, "BROKER_PUBLIC_URL", "BROKER_STITCH_CLIENT_ID", "BROKER_ENCRYPTION_KEYS")

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("DATABASE_URL", "mysql://planted-secret@x/y"),
            ("DATABASE_LISTEN_URL", "planted-secret"),
            ("PUBLIC_URL", "http://broker.example"),
            ("PUBLIC_URL", "ftp://broker.example"),
            ("PUBLIC_URL", "https://user:planted-secret@broker.example"),
            ("PUBLIC_URL", "https://broker.example/?a=b"),
            ("PUBLIC_URL", ""),
            ("STITCH_ISSUER", "http://stitch.example"),
            ("STITCH_GRAPHQL_URL", "http://stitch.example/graphql"),
            ("STITCH_TOKEN_ENDPOINT", "http://stitch.example/token"),
            ("STITCH_CLIENT_ID", ""),
            ("STITCH_CLIENT_SECRET", ""),
            ("STITCH_CLIENT_AUTH", "none"),
            ("STITCH_CLIENT_AUTH", "private_key_jwt"),
            ("STITCH_SCOPES", "accounts"),
            ("ENCRYPTION_KEYS", "planted-secret"),
            ("ENCRYPTION_KEYS", "a:planted-secret"),
            ("ENCRYPTION_KEYS", f"a:{base64.b64encode(b'planted').decode()}"),
            ("ENCRYPTION_KEYS", f"a:{ENCRYPTION_KEY},a:{ENCRYPTION_KEY}"),
            ("ENCRYPTION_KEYS", ""),
            ("RETURN_URLS", "http://shop.example/*"),
            ("RETURN_URLS", "https://shop.example/*/done"),
            ("RETURN_URLS", "nonsense"),
            ("SESSION_TTL", "0"),
            ("SESSION_TTL", "soon"),
            ("CACHE_TTL", "-1"),
            ("CACHE_TTL", "nan"),
            ("LOG_LEVEL", "loud"),
            ("LOG_FORMAT", "xml"),
            ("METRICS_PORT", "0"),
            ("REFRESH_LEASE", "10"),
            ("REFRESH_DEADLINE", "nan"),
        ],
    )
    def test_a_wrong_one_is_named_and_not_shown(self, cli: Cli, name: str, value: str) -> None:
        finished = cli("doctor", **{f"BROKER_{name}": value})
        expected = {
            "REFRESH_LEASE": "BROKER_REFRESH_LEASE",
            "STITCH_CLIENT_AUTH": "BROKER_STITCH_",
        }.get(name, f"BROKER_{name}")
        assert_one_line(finished, expected)
        assert "planted-secret" not in finished.err
        assert ENCRYPTION_KEY not in finished.err

    def test_a_secret_may_come_from_a_file(self, cli: Cli, environment: dict[str, str], tmp_path: Path) -> None:
        file = tmp_path / "keys"
        file.write_text(f"{environment['BROKER_ENCRYPTION_KEYS']}\n")
        changes: dict[str, str | None] = {"BROKER_ENCRYPTION_KEYS": None, "BROKER_ENCRYPTION_KEYS_FILE": str(file)}
        assert cli("callers", "create", "x", "--permission", "admin", **changes).status == 0

    def test_a_secret_given_twice_is_one_line(self, cli: Cli) -> None:
        finished = cli("callers", "list", BROKER_ENCRYPTION_KEYS_FILE="/nonexistent")
        assert_one_line(finished, "BROKER_ENCRYPTION_KEYS_FILE")

    def test_a_file_that_is_not_there_is_one_line(self, cli: Cli) -> None:
        finished = cli("callers", "list", BROKER_ENCRYPTION_KEYS=None, BROKER_ENCRYPTION_KEYS_FILE="/nonexistent")
        assert_one_line(finished, "BROKER_ENCRYPTION_KEYS_FILE", "/nonexistent")


@pytest.mark.parametrize(
    "arguments", [("nonsense",), ("callers", "nonsense"), ("serve", "--port", "70000"), ("serve", "--workers", "0")]
)
def test_a_wrong_command_line_is_explained(cli: Cli, arguments: tuple[str, ...]) -> None:
    finished = cli(*arguments)
    assert finished.status == 2
    assert "Traceback" not in finished.err


@pytest.mark.parametrize(
    "group", [(), ("callers",), ("keys",), ("encryption",), ("connections",), ("sessions",), ("pkce",)]
)
def test_help_names_the_commands_of_the_contract(cli: Cli, group: tuple[str, ...]) -> None:
    expected = {
        (): (
            "serve",
            "migrate",
            "demo",
            "callers",
            "keys",
            "encryption",
            "connections",
            "sessions",
            "doctor",
            "pkce",
            "openapi",
        ),
        ("callers",): ("create", "list", "disable"),
        ("keys",): ("create", "list", "revoke"),
        ("encryption",): ("generate", "status", "rewrap"),
        ("connections",): ("list", "show", "revoke"),
        ("sessions",): ("show",),
        ("pkce",): ("new", "check"),
    }[group]
    finished = cli(*group, "--help")
    assert finished.status == 0
    for word in expected:
        assert f" {word} " in finished.out


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("ALL_PROXY", "socks5h://user:planted-password@127.0.0.1:1080", "SOCKS proxies are not supported"),
        ("https_proxy", "http://user:planted-password@127.0.0.1:99999", "the port must be a number from 1 to 65535"),
        ("NO_PROXY", "localhost,10.0.0.0/99", "'10.0.0.0/99' is not a network, such as 10.0.0.0/8"),
    ],
)
def test_a_proxy_that_cannot_be_used_is_one_line_of_the_start_and_of_doctor(
    cli: Cli, bank_url: str, name: str, value: str, reason: str
) -> None:
    assert bank_url
    changes = {name: value}
    assert_one_line(cli("serve", "--port", "0", **changes), f"{name}: {reason}")
    examined = cli("doctor", **changes)
    assert examined.status == 1
    lines = [line for line in examined.out.splitlines() if line.startswith("FAIL")]
    assert lines[-1].startswith(f"FAIL  proxies: {name}: {reason}")
    assert "planted-password" not in examined.out + examined.err
