import httpx
import pytest

from app.demo.expectations import Unexpected, expect, expect_that
from app.demo.printing import Printer, StepFailed
from app.demo.redaction import Redactor
from app.errors import ConfigurationError


def test_a_step_shows_what_was_sent_and_received_and_no_secret(capsys: pytest.CaptureFixture[str]) -> None:
    printer = Printer(Redactor())
    with printer.step("Try [bold]it[/bold]") as step:
        step.sent(f"GET /?state={printer.redactor.add_secret('hush')}")
        step.received("200 OK\nhush")
        step.table(("name", "amount"), [("a [b]", "1.00"), ("hush", "-10.00")], right=("amount",))
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(" 1. Try [bold]it[/bold]  (")
    assert lines[1:] == [
        "    → GET /?state=••• (4 characters)",
        "    ← 200 OK",
        "      ••• (4 characters)",
        "      name                 amount",
        "      a [b]                  1.00",
        "      ••• (4 characters)   -10.00",
    ]


@pytest.mark.parametrize(
    ("error", "shown"),
    [
        (Unexpected("status 200", "500 hush"), ("✗ expected status 200", "got      500 ••• (4 characters)")),
        (ConfigurationError("no database"), ("✗ expected success", "got      no database")),
        (httpx.ConnectError("refused"), ("✗ expected success", "got      ConnectError: refused")),
        (
            FileNotFoundError(2, "gone"),
            ("✗ expected success", "got      FileNotFoundError: [Errno 2] gone"),
        ),
    ],
)
def test_a_step_that_fails_says_what_it_expected_and_what_it_got(
    capsys: pytest.CaptureFixture[str], error: Exception, shown: tuple[str, str]
) -> None:
    printer = Printer(Redactor())
    printer.redactor.add_secret("hush")
    with pytest.raises(StepFailed), printer.step("Try it") as step:
        step.sent("something")
        raise error
    lines = [line.strip() for line in capsys.readouterr().out.splitlines()]
    assert lines[1:] == ["→ something", *shown]


def test_a_bug_of_the_demo_itself_is_not_reported_as_a_failed_step() -> None:
    with pytest.raises(ZeroDivisionError), Printer(Redactor()).step("Try it"):
        raise ZeroDivisionError


def test_expectations_name_both_sides() -> None:
    expect(1, 1, what="the version")
    expect_that(True, expected="something", actual=None)
    with pytest.raises(Unexpected, match="expected the version: 2, got 3"):
        expect(2, 3, what="the version")
    with pytest.raises(Unexpected, match=r"expected an account, got \[\]"):
        expect_that(False, expected="an account", actual=[])
