"""`broker callers` and `broker keys`."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from app.callers.permissions import Permission
from tests.cli.conftest import Cli


def created(cli: Cli, name: str = "payments", *options: str) -> dict[str, Any]:
    """Create a caller and return what was printed."""
    finished = cli("callers", "create", name, "--permission", "graphql:query", "--json", *options)
    assert (finished.status, finished.err) == (0, "")
    caller: dict[str, Any] = json.loads(finished.out)
    return caller


class TestCallers:
    def test_a_new_caller_is_printed_with_its_key(self, cli: Cli) -> None:
        finished = cli(
            *("callers", "create", "payments", "--tenant", "shop", "--permission", "graphql:query"),
            *("--permission", "sessions:write", "--json"),
        )
        caller = json.loads(finished.out)
        assert list(caller) == ["id", "name", "tenant", "permissions", "api_key"]
        assert (caller["name"], caller["tenant"]) == ("payments", "shop")
        assert set(caller["permissions"]) == {"graphql:query", "sessions:write"}
        assert caller["api_key"].startswith("brk_")

    def test_the_tenant_is_default_unless_named(self, cli: Cli) -> None:
        assert created(cli)["tenant"] == "default"

    def test_every_permission_can_be_granted(self, cli: Cli) -> None:
        options = [part for one in Permission for part in ("--permission", one.value)]
        finished = cli("callers", "create", "all", *options, "--json")
        assert set(json.loads(finished.out)["permissions"]) == {one.value for one in Permission}

    def test_for_people_it_is_a_line_a_field(self, cli: Cli) -> None:
        finished = cli("callers", "create", "payments", "--permission", "admin")
        fields = dict(line.split(maxsplit=1) for line in finished.out.splitlines())
        assert fields["name"] == "payments"
        assert fields["permissions"] == "admin"
        assert fields["api_key"].startswith("brk_")

    def test_the_list_shows_no_key(self, cli: Cli) -> None:
        key = created(cli)["api_key"]
        created(cli, "other", "--tenant", "shop")
        finished = cli("callers", "list", "--json")
        assert [one["name"] for one in json.loads(finished.out)] == ["payments", "other"]
        assert key not in finished.out
        assert [one["name"] for one in json.loads(cli("callers", "list", "--tenant", "shop", "--json").out)] == [
            "other"
        ]
        table = cli("callers", "list").out
        assert "payments" in table
        assert key not in table

    def test_an_empty_list_says_so(self, cli: Cli) -> None:
        assert cli("callers", "list").out == "none\n"
        assert json.loads(cli("callers", "list", "--json").out) == []

    @pytest.mark.parametrize("name", ["[/]", "[bold]x[/bold]", "[red]", "a\\[b]"])
    def test_a_name_in_brackets_is_shown_as_it_is(self, cli: Cli, name: str) -> None:
        created(cli, name)
        finished = cli("callers", "list")
        assert finished.status == 0
        assert name in finished.out

    @pytest.mark.parametrize("by", ["id", "name"])
    def test_a_caller_is_disabled_by_id_or_name(self, cli: Cli, by: str) -> None:
        finished = cli("callers", "disable", created(cli)[by], "--json")
        assert json.loads(finished.out)["disabled_at"] is not None

    def test_a_name_that_is_taken_is_one_line(self, cli: Cli) -> None:
        created(cli)
        finished = cli("callers", "create", "payments", "--permission", "admin")
        assert finished.status == 1
        assert finished.out == ""
        assert finished.err == "broker: the tenant default has a caller named payments\n"

    def test_an_unknown_permission_is_one_line(self, cli: Cli) -> None:
        finished = cli("callers", "create", "payments", "--permission", "everything")
        assert finished.status == 1
        assert finished.err.startswith("broker: unknown permission 'everything'; there are sessions:read")
        assert finished.err.count("\n") == 1

    @pytest.mark.parametrize("name", ["", "nul\x00", "x" * 300, "\udcff", "cal_3b9d1f5a7c0e2846a8b0c2d4"])
    def test_a_name_that_cannot_be_is_one_line(self, cli: Cli, name: str) -> None:
        finished = cli("callers", "create", name, "--permission", "admin")
        assert finished.status in (1, 2)
        assert finished.err.count("\n") == 1

    def test_a_name_steers_no_terminal_and_makes_no_row(self, cli: Cli) -> None:
        """It may be another tenant's, whose administrators choose it."""
        cli("callers", "create", "evil\x1b[2J\x07\nfake row", "--permission", "admin")
        listed = cli("callers", "list").out
        assert "\x1b" not in listed
        assert "\x07" not in listed
        assert "evil\\x1b[2J\\x07\\nfake row" in listed
        assert listed.count("\n") == 2

    def test_an_unknown_caller_is_one_line(self, cli: Cli) -> None:
        finished = cli("callers", "disable", "nobody")
        assert (finished.status, finished.err) == (1, "broker: there is no caller nobody\n")

    def test_a_caller_without_a_permission_is_not_made(self, cli: Cli) -> None:
        finished = cli("callers", "create", "payments")
        assert finished.status == 2
        assert "--permission" in finished.err


class TestKeys:
    def test_a_further_key_is_printed_this_once(self, cli: Cli) -> None:
        first = created(cli)["api_key"]
        finished = cli("keys", "create", "payments", "--json")
        key = json.loads(finished.out)
        assert key["api_key"].startswith(key["prefix"])
        assert key["expires_at"] is None
        listed = cli("keys", "list", "payments", "--json")
        assert [one["id"] for one in json.loads(listed.out)][1] == key["id"]
        assert key["api_key"] not in listed.out + cli("keys", "list", "payments").out
        assert first not in listed.out

    def test_a_key_can_have_an_end(self, cli: Cli) -> None:
        created(cli)
        key = json.loads(cli("keys", "create", "payments", "--days", "7", "--json").out)
        left = datetime.fromisoformat(key["expires_at"]) - datetime.now(UTC)
        assert timedelta(days=6) < left <= timedelta(days=7)

    def test_a_key_without_a_day_to_live_is_not_made(self, cli: Cli) -> None:
        created(cli)
        assert cli("keys", "create", "payments", "--days", "0").status == 2

    def test_an_end_beyond_all_calendars_is_one_line(self, cli: Cli) -> None:
        created(cli)
        finished = cli("keys", "create", "payments", "--days", "9999999999")
        assert finished.status in (1, 2)
        assert "Traceback" not in finished.err

    def test_a_revoked_key_is_shown_as_such(self, cli: Cli) -> None:
        created(cli)
        [key] = json.loads(cli("keys", "list", "payments", "--json").out)
        finished = cli("keys", "revoke", "payments", key["id"])
        assert (finished.status, finished.out) == (0, f"revoked {key['id']} of a caller of the tenant default\n")
        printed = json.loads(cli("keys", "revoke", "payments", key["id"], "--json").out)
        assert (printed["id"], printed["revoked_at"] is None) == (key["id"], False)
        [key] = json.loads(cli("keys", "list", "payments", "--json").out)
        assert key["revoked_at"] is not None

    def test_an_unknown_key_is_one_line(self, cli: Cli) -> None:
        created(cli)
        finished = cli("keys", "revoke", "payments", "key_unknown")
        assert (finished.status, finished.err) == (1, "broker: payments has no key key_unknown\n")

    def test_a_caller_of_another_tenant_is_not_meant(self, cli: Cli) -> None:
        created(cli, "payments", "--tenant", "shop")
        assert cli("keys", "create", "payments", "--tenant", "default").status == 1
        assert cli("keys", "create", "payments", "--tenant", "shop").status == 0

    @pytest.mark.parametrize(
        "command", [("keys", "create"), ("keys", "list"), ("keys", "revoke"), ("callers", "disable")], ids=" ".join
    )
    def test_a_name_that_two_tenants_know_is_refused_without_the_tenant(
        self, cli: Cli, command: tuple[str, str]
    ) -> None:
        first, second = created(cli), created(cli, "payments", "--tenant", "shop")
        [key] = json.loads(cli("keys", "list", second["id"], "--json").out)
        more = [key["id"]] if command[1] == "revoke" else []
        finished = cli(*command, "payments", *more)
        assert (finished.status, finished.out) == (1, "")
        assert finished.err == (
            "broker: the tenants default, shop each have a caller payments; choose one with --tenant, or use its id\n"
        )
        for reference in (["payments", *more, "--tenant", "shop"], [second["id"], *more]):
            assert cli(*command, *reference).status == 0
        [untouched] = json.loads(cli("keys", "list", first["id"], "--json").out)
        assert untouched["revoked_at"] is None

    def test_every_key_is_printed_with_its_tenant(self, cli: Cli) -> None:
        created(cli, "payments", "--tenant", "shop")
        key = json.loads(cli("keys", "create", "payments", "--json").out)
        [first, _] = json.loads(cli("keys", "list", "payments", "--json").out)
        revoked = json.loads(cli("keys", "revoke", "payments", key["id"], "--json").out)
        assert {one["tenant"] for one in (key, first, revoked)} == {"shop"}
