import base64
from collections.abc import Callable
from pathlib import Path

import pytest

from app.errors import ConfigurationError
from app.settings import Settings, load_database_settings, load_key_ring, load_settings

PLANTED = "planted-secret"
KEYS = "first:" + base64.b64encode(b"1" * 32).decode()
REQUIRED = {
    "PUBLIC_URL": "https://broker.example",
    "STITCH_CLIENT_ID": "test-client",
    "STITCH_CLIENT_SECRET": PLANTED,
    "ENCRYPTION_KEYS": KEYS,
}

SetVariables = Callable[..., None]


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> SetVariables:
    """A function that sets the required variables and those of a test; None unsets a variable."""

    def set_variables(**values: str | None) -> None:
        for name, value in (REQUIRED | values).items():
            if value is None:
                monkeypatch.delenv(f"BROKER_{name}", raising=False)
            else:
                monkeypatch.setenv(f"BROKER_{name}", value)

    set_variables()
    return set_variables


def refusal() -> str:
    """Return the one line that explains why the settings are refused."""
    with pytest.raises(ConfigurationError) as refused:
        load_settings()
    return refused.value.detail


def test_the_defaults_are_those_of_the_documentation(environment: SetVariables) -> None:
    settings = load_settings()
    assert settings.stitch_issuer == "https://secure.stitch.money"
    assert settings.stitch_graphql_url == "https://api.stitch.money/graphql"
    assert settings.stitch_client_auth == "client_secret_post"
    assert settings.stitch_scopes == ("openid", "accounts", "balances", "transactions", "offline_access")
    assert (settings.session_ttl, settings.cache_ttl) == (900, 5)
    assert (settings.log_level, settings.log_format) == ("info", "json")
    assert (settings.database_url, settings.data_dir) == (None, Path(".data"))
    assert settings.return_urls == ()
    assert settings.caller_concurrency == settings.query_concurrency // 4 == 500


@pytest.mark.parametrize(
    "public_url", ["https://broker.example", "https://broker.example/", "https://broker.example//"]
)
def test_the_redirect_uri_is_below_the_public_url(environment: SetVariables, public_url: str) -> None:
    environment(PUBLIC_URL=public_url)
    assert load_settings().redirect_uri == "https://broker.example/callback"


@pytest.mark.parametrize(
    ("public_url", "prefix"),
    [("https://broker.example", ""), ("https://broker.example/", ""), ("https://bank.example/a/b/", "/a/b")],
)
def test_the_path_prefix_is_the_path_of_the_public_url(environment: SetVariables, public_url: str, prefix: str) -> None:
    environment(PUBLIC_URL=public_url)
    assert load_settings().path_prefix == prefix


def test_lists_are_split(environment: SetVariables) -> None:
    environment(RETURN_URLS=" https://a.example/done, https://b.example/*,,", STITCH_SCOPES="openid  accounts")
    environment(TRUSTED_PROXIES="10.0.0.0/8, ::1")
    settings = load_settings()
    assert settings.trusted_proxies == ("10.0.0.0/8", "::1")
    assert settings.return_urls == ("https://a.example/done", "https://b.example/*")
    assert settings.stitch_scopes == ("openid", "accounts")


def test_lists_may_be_passed_as_tuples() -> None:
    settings = Settings(
        public_url="https://broker.example",
        stitch_client_id="client",
        stitch_client_secret=PLANTED,
        encryption_keys=KEYS,
        return_urls=("https://a.example/done",),
        stitch_scopes=("openid",),
    )
    assert (settings.return_urls, settings.stitch_scopes) == (("https://a.example/done",), ("openid",))


@pytest.mark.parametrize("name", ["PUBLIC_URL", "STITCH_CLIENT_ID", "STITCH_CLIENT_SECRET", "ENCRYPTION_KEYS"])
def test_a_missing_setting_is_named(environment: SetVariables, name: str) -> None:
    environment(**{name: None})
    assert f"BROKER_{name} is " in refusal()


WRONG = {
    "DATABASE_URL": [f"mysql://user:{PLANTED}@db", PLANTED],
    "DATABASE_LISTEN_URL": [f"user:{PLANTED}@db"],
    "PUBLIC_URL": [
        "broker.example",
        "http://broker.example",
        "ftp://broker.example",
        "https://",
        f"https://user:{PLANTED}@broker.example",
        f"https://{PLANTED}@broker.example",
        f"https://broker.example/?key={PLANTED}",
        f"https://broker.example/#{PLANTED}",
        "https://[::1",
        "http://127.0.0.1.evil.example",
        "http://localhost.evil.example",
        f"https://broker.example/{PLANTED}%2f",
        "https://broker.example/a//b",
    ],
    "STITCH_ISSUER": ["http://secure.stitch.money", f"https://secure.stitch.money?key={PLANTED}"],
    "STITCH_CLIENT_ID": [""],
    "STITCH_CLIENT_SECRET": [""],
    "STITCH_CLIENT_AUTH": [PLANTED, "none"],
    "STITCH_GRAPHQL_URL": ["http://api.stitch.money/graphql"],
    "STITCH_TOKEN_ENDPOINT": ["http://secure.stitch.money/connect/token"],
    "STITCH_SCOPES": ["accounts offline_access", ""],
    "ENCRYPTION_KEYS": [
        PLANTED,
        f"first:{PLANTED}",
        f"{KEYS},first:{base64.b64encode(PLANTED.encode()).decode()}",
        f"{KEYS},{KEYS}",
        "",
        f"{KEYS},",
    ],
    "RETURN_URLS": [
        "app.example",
        "http://app.example/done",
        "https://app.example*",
        "https://app.example/*/done",
        f"https://user:{PLANTED}@app.example/",
    ],
    "TRUSTED_PROXIES": [PLANTED, "*", "10.0.0.1/8", "10.0.0.0/8 10.1.0.0/16"],
    "WEBHOOK_PRIVATE_NETWORKS": [PLANTED, "*", "10.0.0.1/8"],
    "WEBHOOK_TIMEOUT": ["0", "31", "soon"],
    "STOP_DELAY": ["-1", "61"],
    "SESSION_TTL": ["0", "86401", "a while", PLANTED],
    "CACHE_TTL": ["-1", "301", "nan"],
    "METRICS_PORT": ["0", "65536", ""],
    "LOG_LEVEL": ["loud"],
    "LOG_FORMAT": ["xml"],
    "BANK_TIMEOUT": ["0", "121"],
    "QUERY_TIMEOUT": ["0"],
    "MAX_QUERY_BYTES": ["1023"],
    "MAX_BODY_BYTES": ["0"],
    "REFRESH_DEADLINE": ["0", "30", "31"],
    "REFRESH_LEASE": ["10", "9.9", "301"],
}


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in WRONG.items() for value in values])
def test_a_wrong_setting_is_refused_with_one_line_that_names_it_and_no_secret(
    environment: SetVariables, name: str, value: str
) -> None:
    environment(**{name: value})
    line = refusal()
    assert f"BROKER_{name}" in line or name in line
    assert "\n" not in line
    assert PLANTED not in line
    assert base64.b64encode(PLANTED.encode()).decode() not in line


def test_all_wrong_settings_are_named_together(environment: SetVariables) -> None:
    environment(LOG_LEVEL="loud", SESSION_TTL="0")
    line = refusal()
    assert "BROKER_LOG_LEVEL" in line
    assert "BROKER_SESSION_TTL" in line


def test_the_lease_must_outlast_the_deadline(environment: SetVariables) -> None:
    environment(REFRESH_LEASE="20", REFRESH_DEADLINE="20")
    assert "BROKER_REFRESH_LEASE must be longer than REFRESH_DEADLINE" in refusal()
    environment(REFRESH_LEASE="20.1", REFRESH_DEADLINE="20")
    assert load_settings().refresh_lease == 20.1


def test_names_in_lowercase_are_accepted(environment: SetVariables, monkeypatch: pytest.MonkeyPatch) -> None:
    environment(LOG_LEVEL=None)
    monkeypatch.setenv("broker_log_level", "debug")
    assert load_settings().log_level == "debug"


def test_an_empty_database_url_means_none(environment: SetVariables) -> None:
    environment(DATABASE_URL="")
    assert load_settings().database_url is None


def test_a_star_in_the_host_of_a_return_url_is_refused(environment: SetVariables) -> None:
    environment(RETURN_URLS="https://*.app.example/*")
    assert "BROKER_RETURN_URLS" in refusal()


@pytest.mark.parametrize("pattern", ["https://app.example/done?to=/*", "https://app.example/done#/*"])
def test_a_return_url_pattern_has_neither_query_nor_fragment(environment: SetVariables, pattern: str) -> None:
    environment(RETURN_URLS=pattern)
    assert "BROKER_RETURN_URLS" in refusal()


def test_an_impossible_port_is_refused(environment: SetVariables) -> None:
    environment(STITCH_ISSUER="https://secure.stitch.money:99999")
    assert "BROKER_STITCH_ISSUER" in refusal()


@pytest.mark.parametrize("name", ["DATABASE_URL", "DATABASE_LISTEN_URL", "STITCH_CLIENT_SECRET", "ENCRYPTION_KEYS"])
def test_a_secret_may_come_from_a_file(environment: SetVariables, tmp_path: Path, name: str) -> None:
    value = {"ENCRYPTION_KEYS": KEYS, "STITCH_CLIENT_SECRET": "a+b/c="}.get(name, "postgresql://db/broker")
    file = tmp_path / "secret"
    file.write_text(f"{value}\n")
    environment(**{name: None, f"{name}_FILE": str(file)})
    assert getattr(load_settings(), name.lower()).get_secret_value() == value


def test_a_secret_in_both_a_variable_and_a_file_is_refused(environment: SetVariables, tmp_path: Path) -> None:
    environment(STITCH_CLIENT_SECRET_FILE=str(tmp_path / "secret"))
    assert refusal() == "BROKER_STITCH_CLIENT_SECRET and BROKER_STITCH_CLIENT_SECRET_FILE are both set; keep one"


def test_a_missing_secret_file_is_named(environment: SetVariables, tmp_path: Path) -> None:
    environment(STITCH_CLIENT_SECRET=None, STITCH_CLIENT_SECRET_FILE=str(tmp_path / "nowhere"))
    assert "BROKER_STITCH_CLIENT_SECRET_FILE: " in (line := refusal())
    assert "No such file" in line


def test_a_secret_file_that_is_not_text_is_refused_without_its_content(
    environment: SetVariables, tmp_path: Path
) -> None:
    (tmp_path / "secret").write_bytes(PLANTED.encode() + b"\xff")
    environment(STITCH_CLIENT_SECRET=None, STITCH_CLIENT_SECRET_FILE=str(tmp_path / "secret"))
    assert "cannot be read: not text" in (line := refusal())
    assert PLANTED not in line


def test_a_wrong_secret_from_a_file_is_not_shown(environment: SetVariables, tmp_path: Path) -> None:
    (tmp_path / "keys").write_text(f"first:{PLANTED}")
    environment(ENCRYPTION_KEYS=None, ENCRYPTION_KEYS_FILE=str(tmp_path / "keys"))
    assert "BROKER_ENCRYPTION_KEYS" in (line := refusal())
    assert PLANTED not in line


def test_private_key_jwt_needs_a_key_file_and_no_secret(environment: SetVariables, tmp_path: Path) -> None:
    environment(STITCH_CLIENT_AUTH="private_key_jwt", STITCH_CLIENT_SECRET=None)
    assert "BROKER_STITCH_PRIVATE_KEY_FILE is needed" in refusal()
    environment(
        STITCH_CLIENT_AUTH="private_key_jwt",
        STITCH_CLIENT_SECRET=None,
        STITCH_PRIVATE_KEY_FILE=str(tmp_path / "key.pem"),
    )
    assert "BROKER_STITCH_PRIVATE_KEY_FILE does not name a readable file" in refusal()
    (tmp_path / "key.pem").touch()
    assert load_settings().stitch_client_secret is None


def test_settings_do_not_print_their_secrets(environment: SetVariables) -> None:
    environment(DATABASE_URL=f"postgresql://user:{PLANTED}@db/broker")
    printed = repr(load_settings())
    assert PLANTED not in printed
    assert KEYS.partition(":")[2] not in printed


def test_migrations_need_only_the_database_settings(environment: SetVariables) -> None:
    environment(**dict.fromkeys(REQUIRED), DATABASE_URL="postgres://db/broker")
    settings = load_database_settings()
    assert settings.database_url is not None
    assert settings.database_url.get_secret_value() == "postgres://db/broker"


def test_the_key_ring_can_be_loaded_on_its_own(environment: SetVariables) -> None:
    environment(**{**dict.fromkeys(REQUIRED), "ENCRYPTION_KEYS": KEYS})
    assert load_key_ring().key_ids == ("first",)


TOKENS = {"SERVICE_TOKEN_ISSUER": "https://tokens.example/", "SERVICE_TOKEN_AUDIENCE": "broker"}


def test_service_tokens_are_off_unless_set(environment: SetVariables) -> None:
    settings = load_settings()
    assert (settings.service_token_issuer, settings.service_token_audience) == (None, None)
    environment(**TOKENS)
    settings = load_settings()
    # The issuer stays exactly as written, because tokens must contain it in this form.
    assert (settings.service_token_issuer, settings.service_token_audience) == ("https://tokens.example/", "broker")
    assert settings.service_token_tenant_claim == "tenant"
    assert settings.service_token_permissions_claim == "permissions"


@pytest.mark.parametrize("name", TOKENS)
def test_issuer_and_audience_of_service_tokens_must_be_set_together(environment: SetVariables, name: str) -> None:
    environment(**{**TOKENS, name: None})
    assert refusal() == ("BROKER_SERVICE_TOKEN_ISSUER and SERVICE_TOKEN_AUDIENCE go together; set both or neither")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SERVICE_TOKEN_ISSUER", "http://tokens.example"),
        ("SERVICE_TOKEN_ISSUER", "https://tokens.example?key=1"),
        ("SERVICE_TOKEN_ISSUER", "tokens.example"),
        ("SERVICE_TOKEN_ISSUER", "https://secure.stitch.money"),
        ("SERVICE_TOKEN_AUDIENCE", ""),
        ("SERVICE_TOKEN_TENANT_CLAIM", ""),
        ("SERVICE_TOKEN_PERMISSIONS_CLAIM", ""),
    ],
)
def test_a_wrong_service_token_setting_is_named(environment: SetVariables, name: str, value: str) -> None:
    environment(**{**TOKENS, name: value})
    assert refusal().startswith(f"BROKER_{name}")
