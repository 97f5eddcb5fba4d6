"""`broker pkce`, `broker encryption`, `broker openapi`, `broker migrate`, `broker doctor`."""

import asyncio
import base64
import json
import re
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest
from pydantic import SecretStr

from app.base.randomness import new_id
from app.main import create_api
from app.store.postgresql.database import Database
from app.store.postgresql.migrate import migrate
from sandbox.client import SandboxClient
from sandbox.settings import CLIENT_SECRET
from tests.cli.conftest import Cli, Finished
from tests.support.broker import ENCRYPTION_KEY
from tests.support.hostile import HostileServer, Reply, json_reply
from tests.support.postgresql import Databases
from tests.support.rows import Rows

VERIFIER = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
CHALLENGE = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"


@pytest.fixture
async def empty_database_url(databases: Databases) -> AsyncIterator[SecretStr]:
    """The address of a database that was never migrated."""
    async with databases.fresh(migrated=False) as url:
        yield url


class TestPkce:
    def test_a_new_pair_belongs_together(self, cli: Cli) -> None:
        pair = json.loads(cli("pkce", "new", "--json").out)
        assert re.fullmatch(r"[A-Za-z0-9_-]{43}", pair["code_verifier"])
        assert cli("pkce", "check", pair["code_verifier"], pair["code_challenge"]).status == 0
        plain = dict(line.split() for line in cli("pkce", "new").out.splitlines())
        assert plain.keys() == pair.keys()
        assert plain["code_verifier"] != pair["code_verifier"]

    def test_the_pair_of_the_rfc_belongs_together(self, cli: Cli) -> None:
        finished = cli("pkce", "check", VERIFIER, CHALLENGE)
        assert (finished.status, finished.out) == (0, "they belong together\n")

    def test_values_that_begin_with_a_hyphen_are_no_options(self, cli: Cli) -> None:
        verifier = "-000000000000000000000000000000000000000012"
        assert cli("pkce", "check", verifier, "-ywu2QAwpLEpFDgMmI48WaevQwS5J80mGIEMUx8_7zI").status == 0

    def test_what_is_printed_can_be_json(self, cli: Cli) -> None:
        assert json.loads(cli("pkce", "check", VERIFIER, CHALLENGE, "--json").out)["code_verifier"] == VERIFIER
        assert json.loads(cli("openapi", "--json").out)["openapi"]

    def test_another_pair_does_not(self, cli: Cli) -> None:
        finished = cli("pkce", "check", VERIFIER, "x" * 43)
        assert finished.status == 1
        assert finished.err == f"broker: they do not belong together; the verifier's challenge is {CHALLENGE}\n"

    @pytest.mark.parametrize("verifier", ["short", "x" * 129, "é" * 43, "x y" * 20])
    def test_what_is_no_verifier_is_one_line(self, cli: Cli, verifier: str) -> None:
        finished = cli("pkce", "check", verifier, CHALLENGE)
        assert finished.status == 1
        assert finished.err.startswith("broker: a code_verifier has 43 to 128 characters")

    def test_it_needs_no_settings(self, cli: Cli, environment: dict[str, str]) -> None:
        assert cli("pkce", "new", **dict.fromkeys(environment)).status == 0


class TestEncryption:
    def test_a_new_key_is_an_entry_of_the_setting(self, cli: Cli) -> None:
        entry = cli("encryption", "generate", "--id", "second").out.strip()
        name, _, key = entry.partition(":")
        assert name == "second"
        assert len(base64.b64decode(key, validate=True)) == 32
        as_json = json.loads(cli("encryption", "generate", "--json").out)
        assert as_json["entry"].startswith(f"{as_json['id']}:")
        assert re.fullmatch(r"k\d{8}", as_json["id"])
        finished = cli("callers", "list", BROKER_ENCRYPTION_KEYS=f"{entry},test:{ENCRYPTION_KEY}")
        assert finished.status == 0

    @pytest.mark.parametrize("name", ["a:b", "a,b", "", "x" * 33, "a b"])
    def test_a_name_that_the_setting_cannot_hold_is_refused(self, cli: Cli, name: str) -> None:
        finished = cli("encryption", "generate", "--id", name)
        assert finished.status in (1, 2)
        assert finished.out == ""

    async def test_what_each_key_has_encrypted_is_counted(self, cli: Cli, rows: Rows) -> None:
        await rows.insert()
        other = base64.b64encode(b"o" * 32).decode()
        keys = f"new:{other},test:{ENCRYPTION_KEY}"
        counted = json.loads(cli("encryption", "status", "--json", BROKER_ENCRYPTION_KEYS=keys).out)
        assert counted == [
            {"id": "new", "role": "encrypts", "values": 0},
            {"id": "test", "role": "decrypts", "values": 2},
        ]
        lost = cli("encryption", "status", "--json", BROKER_ENCRYPTION_KEYS=f"new:{other}")
        assert lost.status == 1
        assert lost.err == "broker: 'test' is in use and not in BROKER_ENCRYPTION_KEYS; put it back\n"
        assert json.loads(lost.out)[1] == {"id": "test", "role": "MISSING", "values": 2}
        assert "MISSING" in cli("encryption", "status", BROKER_ENCRYPTION_KEYS=f"new:{other}").out

    def test_values_can_be_sealed_anew_with_the_first_key(self, cli: Cli) -> None:
        cli("callers", "create", "payments", "--permission", "admin")
        other = base64.b64encode(b"o" * 32).decode()
        keys = f"new:{other},test:{ENCRYPTION_KEY}"
        assert cli("encryption", "rewrap", BROKER_ENCRYPTION_KEYS=keys).status == 0
        [only] = json.loads(cli("encryption", "status", "--json", BROKER_ENCRYPTION_KEYS=f"new:{other}").out)
        assert only == {"id": "new", "role": "encrypts", "values": 1}


def test_the_document_is_printed(cli: Cli, environment: dict[str, str]) -> None:
    finished = cli("openapi", **dict.fromkeys(environment))
    assert finished.status == 0
    assert json.loads(finished.out) == create_api().openapi()


class TestMigrate:
    def test_an_empty_database_is_migrated_once(self, cli: Cli, empty_database_url: SecretStr) -> None:
        url = empty_database_url.get_secret_value()
        first = cli("migrate", "--json", BROKER_DATABASE_URL=url)
        migrated = json.loads(first.out)
        assert migrated["before"] is None
        assert migrated["after"]
        again = cli("migrate", BROKER_DATABASE_URL=url)
        assert (again.status, again.out) == (0, f"the schema is up to date ({migrated['after']})\n")
        assert cli("callers", "list", BROKER_DATABASE_URL=url).status == 0

    def test_it_says_what_it_did(self, cli: Cli, empty_database_url: SecretStr) -> None:
        finished = cli("migrate", BROKER_DATABASE_URL=empty_database_url.get_secret_value())
        assert re.fullmatch(r"migrated from nothing to \w+\n", finished.out)

    def test_it_needs_nothing_but_the_database(
        self, cli: Cli, environment: dict[str, str], empty_database_url: SecretStr
    ) -> None:
        changes: dict[str, str | None] = dict.fromkeys(environment)
        changes["BROKER_DATABASE_URL"] = empty_database_url.get_secret_value()
        assert cli("migrate", **changes).status == 0

    def test_several_at_once_do_no_harm(self, empty_database_url: SecretStr) -> None:
        results: list[tuple[str | None, str | None]] = []

        async def once() -> None:
            database = Database(empty_database_url, pool_size=1)
            try:
                results.append(await migrate(database))
            finally:
                await database.close()

        threads = [threading.Thread(target=lambda: asyncio.run(once())) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(before is None for before, _ in results) == [False, False, True]
        assert len({after for _, after in results}) == 1

    def test_commands_before_it_say_what_is_to_be_done(self, cli: Cli, empty_database_url: SecretStr) -> None:
        url = empty_database_url.get_secret_value()
        for command in (("callers", "list"), ("connections", "list"), ("encryption", "status")):
            finished = cli(*command, BROKER_DATABASE_URL=url)
            assert finished.status == 1
            assert "broker migrate" in finished.err
            assert finished.err.count("\n") == 1


def raw_reply(status: int, body: str, **headers: str) -> Reply:
    """Return a well-formed response."""
    named = {"content-length": str(len(body)), **headers}
    head = "".join(f"{name}: {value}\r\n" for name, value in named.items())
    return Reply(f"HTTP/1.1 {status} Any\r\n{head}connection: close\r\n\r\n{body}".encode())


class TestDoctor:
    def checks(self, finished: Finished) -> dict[str, bool]:
        return {one["check"]: one["healthy"] for one in json.loads(finished.out)}

    async def test_where_all_is_well_it_says_so(self, cli: Cli, bank: SandboxClient) -> None:
        finished = cli("doctor", "--json")
        assert finished.status == 0, finished.out
        checks = self.checks(finished)
        assert all(checks.values())
        assert {"database", "schema", "clock", "encryption keys", "redirect URI", "discovery", "signing keys"} <= set(
            checks
        )
        plain = cli("doctor")
        assert plain.status == 0
        assert "FAIL" not in plain.out
        assert ENCRYPTION_KEY not in plain.out + finished.out
        assert CLIENT_SECRET not in plain.out + finished.out

    async def test_what_the_bank_announces_is_said(self, cli: Cli, bank: SandboxClient) -> None:
        assert "not pushed (PAR), tokens are bearer tokens (DPoP)" in cli("doctor").out
        await bank.set_faults(pushed_requests="offered", dpop="offered")
        assert "are pushed (PAR), tokens are bearer tokens (DPoP)" in cli("doctor").out
        assert "are pushed (PAR), tokens are bound to keys (DPoP)" in cli("doctor", BROKER_STITCH_DPOP="on").out

    @pytest.mark.parametrize(
        ("setting", "challenge", "expected"),
        [
            ("off", 'DPoP algs="ES256", error="invalid_token"', "only DPoP tokens"),
            ("on", 'Bearer error="invalid_token", error_description="a, DPoP b"', "only Bearer tokens"),
            ("off", 'Bearer realm="stitch", DPoP algs="ES256"', None),
            ("on", "Bearer, DPoP", None),
            ("off", "Bearer", None),
            ("on", None, None),
        ],
    )
    async def test_a_graphql_api_that_takes_only_the_other_kind_of_token_is_found(
        self, cli: Cli, bank: SandboxClient, setting: str, challenge: str | None, expected: str | None
    ) -> None:
        await bank.set_faults(dpop="offered", www_authenticate=challenge)
        finished = cli("doctor", BROKER_STITCH_DPOP=setting)
        assert finished.status == (1 if expected else 0), finished.out
        if expected:
            assert f"FAIL  graphql: accepts {expected}" in finished.out
            assert f"BROKER_STITCH_DPOP={'off' if setting == 'on' else 'on'}" in finished.out

    async def test_a_bank_that_does_not_tell_how_to_revoke_is_found(self, cli: Cli, bank: SandboxClient) -> None:
        await bank.set_faults(discovery={"document": {"revocation_endpoint": None}})
        finished = cli("doctor")
        assert "FAIL  discovery: the bank announces no revocation_endpoint" in finished.out
        assert "BROKER_STITCH_REVOCATION_ENDPOINT" in finished.out
        assert finished.status == 1

    @pytest.mark.parametrize("pushed", ["none", "required"])
    async def test_an_unregistered_redirect_uri_is_found(self, cli: Cli, bank: SandboxClient, pushed: str) -> None:
        await bank.set_faults(pushed_requests=pushed)
        assert "ok    login request: " in cli("doctor").out
        finished = cli("doctor", BROKER_PUBLIC_URL="https://broker.example")
        assert finished.status == 1
        [line] = [line for line in finished.out.splitlines() if "FAIL" in line]
        assert line.startswith("FAIL  login request: ")
        assert "https://broker.example/callback" in line
        assert "BROKER_PUBLIC_URL" in line

    @pytest.mark.parametrize("pushed", ["none", "required"])
    async def test_scopes_that_the_bank_does_not_allow_are_found(
        self, cli: Cli, bank: SandboxClient, pushed: str
    ) -> None:
        await bank.set_faults(pushed_requests=pushed)
        finished = cli("doctor", BROKER_STITCH_SCOPES="openid nonsense")
        [line] = [line for line in finished.out.splitlines() if "FAIL" in line]
        assert line.startswith("FAIL  login request: ")
        assert "scope" in line
        assert "BROKER_STITCH_SCOPES" in line

    @pytest.mark.parametrize(
        ("reply", "expected"),
        [
            (
                raw_reply(302, "", location="https://broker.example/callback?error=invalid_scope&state=s"),
                "invalid_scope",
            ),
            (raw_reply(302, "", location="/home/error?errorId=CfDJ8"), "error page"),
            (json_reply({"error": "unauthorized_client"}, 400), "unauthorized_client"),
            (raw_reply(400, "<h1>Sorry</h1>"), "answers 400"),
            (raw_reply(403, "<h1>Are you a robot?</h1>"), None),
            (raw_reply(302, "", location="/login?returnUrl=x"), None),
        ],
    )
    async def test_what_the_login_page_answers_is_understood(
        self, cli: Cli, bank: SandboxClient, hostile: HostileServer, reply: Reply, expected: str | None
    ) -> None:
        hostile.replies["/authorize"] = reply
        endpoint = f"{hostile.url}/authorize"
        # In a thread, because this loop serves the page.
        finished = await asyncio.to_thread(lambda: cli("doctor", BROKER_STITCH_AUTHORIZATION_ENDPOINT=endpoint))
        [line] = [line for line in finished.out.splitlines() if "login request: " in line]
        assert line.startswith("FAIL" if expected else "ok")
        assert (expected or "") in line

    async def test_https_for_browsers_is_praised(self, cli: Cli, bank: SandboxClient) -> None:
        finished = cli("doctor", "--json", BROKER_PUBLIC_URL="https://broker.example")
        [found] = [one for one in json.loads(finished.out) if one["check"] == "redirect URI"]
        assert found == {
            "check": "redirect URI",
            "healthy": True,
            "finding": "https://broker.example/callback",
            "mend": "",
        }

    @pytest.mark.parametrize("of_caller", ["0", "30", "31"])
    async def test_a_caller_that_may_take_every_query_is_warned_of(
        self, cli: Cli, bank: SandboxClient, of_caller: str
    ) -> None:
        def mend(**changes: str) -> str:
            finished = cli("doctor", "--json", **changes)
            return next(str(one["mend"]) for one in json.loads(finished.out) if one["check"] == "caller's share")

        assert mend() == ""
        warned = mend(BROKER_CALLER_CONCURRENCY=of_caller, BROKER_QUERY_CONCURRENCY="30")
        assert "below BROKER_QUERY_CONCURRENCY" in warned

    async def test_a_database_that_is_away_is_found(self, cli: Cli, bank: SandboxClient) -> None:
        finished = cli("doctor", "--json", BROKER_DATABASE_URL="postgresql://nobody@127.0.0.1:1/nowhere")
        assert finished.status == 1
        checks = self.checks(finished)
        assert checks["database"] is checks["schema"] is False
        assert "127.0.0.1" in finished.out
        not_checked = {one["check"] for one in json.loads(finished.out) if "not checked" in one["finding"]}
        assert {"schema", "clock", "encryption keys", "bank client"} <= not_checked
        assert checks["discovery"] is True

    async def test_a_database_that_was_never_migrated_is_found(
        self, cli: Cli, bank: SandboxClient, empty_database_url: SecretStr
    ) -> None:
        finished = cli("doctor", BROKER_DATABASE_URL=empty_database_url.get_secret_value())
        assert finished.status == 1
        assert "FAIL  schema" in finished.out
        assert "broker migrate" in finished.out

    async def test_what_postgresql_says_is_said(self, cli: Cli, bank: SandboxClient, database_url: SecretStr) -> None:
        database = await asyncpg.connect(database_url.get_secret_value())
        role = new_id("role")
        await database.execute(f"CREATE ROLE {role} LOGIN CONNECTION LIMIT 0")
        try:
            address = re.sub("//[^@]*@", f"//{role}@", database_url.get_secret_value())
            finished = cli("doctor", BROKER_DATABASE_URL=address)
            assert f'(PostgreSQL: too many connections for role "{role}" (53300))' in finished.out
        finally:
            await database.execute(f"DROP ROLE {role}")
            await database.close()

    async def test_lost_tables_are_found(self, cli: Cli, bank: SandboxClient, database_url: SecretStr) -> None:
        database = await asyncpg.connect(database_url.get_secret_value())
        await database.execute("DROP TABLE tokens")
        await database.close()
        finished = cli("doctor", BROKER_DATABASE_URL=database_url.get_secret_value())
        assert finished.status == 1
        assert "but tables were lost: tokens\n      restore a backup" in finished.out

    async def test_a_secret_that_the_bank_refuses_is_found(self, cli: Cli, bank: SandboxClient) -> None:
        finished = cli("doctor", "--json", BROKER_STITCH_CLIENT_SECRET="another")
        assert finished.status == 1
        assert self.checks(finished)["client authentication"] is False
        families = (await bank.ledger()).families
        assert all(family.alive for family in families)

    async def test_a_bank_that_cannot_be_found_is_found(self, cli: Cli) -> None:
        changes = {"BROKER_STITCH_ISSUER": "http://127.0.0.1:1", "BROKER_STITCH_GRAPHQL_URL": "http://127.0.0.1:1/g"}
        finished = cli("doctor", "--json", **changes)
        assert finished.status == 1
        checks = self.checks(finished)
        assert checks["discovery"] is checks["signing keys"] is checks["graphql"] is False
        assert checks["database"] is True

    async def test_a_missing_key_is_found(self, cli: Cli, bank: SandboxClient, rows: Rows) -> None:
        await rows.insert()
        other = base64.b64encode(b"o" * 32).decode()
        finished = cli("doctor", "--json", BROKER_ENCRYPTION_KEYS=f"new:{other}")
        assert self.checks(finished)["encryption keys"] is False
        assert "'test'" in finished.out

    async def test_a_client_key_that_is_none_is_found(self, cli: Cli, bank: SandboxClient, tmp_path: Path) -> None:
        file = tmp_path / "client.pem"
        file.write_text("planted-secret")
        changes = {"BROKER_STITCH_CLIENT_AUTH": "private_key_jwt", "BROKER_STITCH_PRIVATE_KEY_FILE": str(file)}
        finished = cli("doctor", "--json", **changes)
        assert finished.status == 1
        assert self.checks(finished)["client authentication"] is False
        assert "planted-secret" not in finished.out + finished.err

    @pytest.mark.parametrize("fault", [{"discovery": {"garbage": True}}, {"jwks": {"status": 503}}])
    async def test_a_bank_that_is_not_well_is_found(
        self, cli: Cli, bank: SandboxClient, fault: dict[str, dict[str, bool]]
    ) -> None:
        await bank.set_faults(**fault)  # type: ignore[arg-type]
        assert cli("doctor").status == 1
