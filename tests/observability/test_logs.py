import asyncio
import contextvars
import io
import json
import logging
import sys
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest
import structlog

from app.errors import DatabaseUnavailable
from app.observability.access_log import ServedRequest
from app.observability.logs import configure_logs, current_request_id, get_logger, log_request, set_request_id

PLANTED = "planted-secret"
SERVED = ServedRequest("GET", "/v1/sessions", 200, "cal_1", "10.0.0.1")
Lines = Callable[[], list[dict[str, Any]]]


@pytest.fixture
def output() -> Iterator[io.StringIO]:
    """What is logged. The previous configuration is restored after the test."""
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    stream = io.StringIO()
    configure_logs("info", "json", stream)
    yield stream
    root.handlers, root.level = handlers, level
    structlog.reset_defaults()


@pytest.fixture
def lines(output: io.StringIO) -> Lines:
    return lambda: [json.loads(line) for line in output.getvalue().splitlines()]


def fail_with_a_secret() -> None:
    token = PLANTED
    raise ValueError(f"cannot read {token}")


def test_a_line_is_json_with_event_level_time_and_module(lines: Lines) -> None:
    get_logger("app.here").info("refresh_ended", version=3)
    (line,) = lines()
    assert line.pop("timestamp").endswith("Z")
    assert line == {"event": "refresh_ended", "level": "info", "version": 3, "module": "app.here"}


def test_every_line_has_the_request_id(lines: Lines) -> None:
    def serve() -> None:
        set_request_id("req_1")
        get_logger("app").warning("one")
        logging.getLogger("a.library").warning("two")
        log_request(SERVED, 0.0123)

    contextvars.copy_context().run(serve)
    assert [line["request_id"] for line in lines()] == ["req_1"] * 3
    assert current_request_id() is None


def test_log_lines_of_libraries_have_the_same_form(lines: Lines) -> None:
    logging.getLogger("a.library").error("failed: %s", "reason")
    (line,) = lines()
    assert (line["event"], line["level"], line["module"]) == ("failed: reason", "error", "a.library")


def test_lines_below_the_level_are_not_written(lines: Lines) -> None:
    get_logger("app").debug("below_the_level")
    logging.getLogger("httpx").info("GET https://bank.example/?code=secret")
    assert lines() == []


def test_an_exception_is_logged_with_its_place_but_not_its_message(output: io.StringIO, lines: Lines) -> None:
    try:
        fail_with_a_secret()
    except ValueError:
        get_logger("app").exception("it_failed")
    (line,) = lines()
    (failure,) = line["exception"]
    assert failure["type"] == "builtins.ValueError"
    assert failure["frames"][-1].endswith("fail_with_a_secret")
    assert PLANTED not in output.getvalue()


def test_an_exception_logged_by_a_library_does_not_show_its_message_either(output: io.StringIO, lines: Lines) -> None:
    try:
        fail_with_a_secret()
    except ValueError:
        logging.getLogger("a.library").exception("it failed")
    assert lines()[0]["exception"][0]["type"] == "builtins.ValueError"
    assert PLANTED not in output.getvalue()


def test_the_causes_of_an_exception_are_logged(lines: Lines) -> None:
    try:
        try:
            fail_with_a_secret()
        except ValueError as error:
            raise DatabaseUnavailable("away") from error
    except DatabaseUnavailable as error:
        get_logger("app").error("it_failed", exc_info=error)
        get_logger("app").error("again", exc_info=sys.exc_info())
    for line in lines():
        assert [cause["type"] for cause in line["exception"]] == [
            "app.errors.DatabaseUnavailable",
            "builtins.ValueError",
        ]


def test_the_console_format_hides_secrets_too() -> None:
    stream = io.StringIO()
    root = logging.getLogger()
    handlers = root.handlers
    configure_logs("warning", "console", stream)
    try:
        fail_with_a_secret()
    except ValueError:
        get_logger("app").exception("it_failed")
        logging.getLogger("a.library").exception("it failed")
    root.handlers = handlers
    structlog.reset_defaults()
    assert "it_failed" in stream.getvalue()
    assert "ValueError" in stream.getvalue()
    assert PLANTED not in stream.getvalue()


def test_log_lines_of_uvicorn_are_written_once(lines: Lines) -> None:
    logging.getLogger("uvicorn.error").warning("Something is odd")
    assert len(lines()) == 1


def test_an_access_line_has_the_form_of_other_log_lines(lines: Lines) -> None:
    log_request(SERVED, 0.0123)
    (line,) = lines()
    assert datetime.fromisoformat(line.pop("timestamp")).utcoffset() == timedelta(0)
    assert line == {
        "event": "request",
        "level": "info",
        "module": "app.access",
        "request_id": None,
        "method": "GET",
        "route": "/v1/sessions",
        "status": 200,
        "caller": "cal_1",
        "client": "10.0.0.1",
        "milliseconds": 12.3,
    }


def test_an_access_line_stays_one_line_whatever_the_name_of_the_caller(lines: Lines) -> None:
    log_request(SERVED._replace(caller='svc_"\n{}'), 0)
    assert [line["caller"] for line in lines()] == ['svc_"\n{}']


async def test_access_lines_are_written_before_the_event_loop_waits_again(output: io.StringIO, lines: Lines) -> None:
    for status in (200, 404):
        log_request(SERVED._replace(status=status), 0)
    assert output.getvalue() == ""
    await asyncio.sleep(0)
    assert [line["status"] for line in lines()] == [200, 404]


def test_access_lines_can_be_turned_off_or_written_for_the_console(output: io.StringIO) -> None:
    configure_logs("warning", "json", output)
    log_request(SERVED, 0.0123)
    assert output.getvalue() == ""
    configure_logs("info", "console", output)
    log_request(SERVED, 0.0123)
    assert "request" in output.getvalue()
