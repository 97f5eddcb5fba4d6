import os
import sys
from pathlib import Path

import pytest

from app.demo.expectations import Unexpected
from app.demo.processes import run_broker, running, tail

STUBBORN = (
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('ready', flush=True); time.sleep(60)"
)


def python(program: str) -> list[str]:
    return [sys.executable, "-c", program]


def test_a_process_ends_with_its_block(tmp_path: Path) -> None:
    program = "import os, time; print(os.getpid(), flush=True); time.sleep(60)"
    with running("it", python(program), None, tmp_path / "log") as child:
        child.wait_until(lambda: bool(child.log_lines()), expected="its id")
        number = int(child.log_lines()[0])
        os.kill(number, 0)
    with pytest.raises(ProcessLookupError):
        os.kill(number, 0)


def test_a_process_that_will_not_end_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.demo.processes._STOP_SECONDS", 0.2)
    with running("it", python(STUBBORN), None, tmp_path / "log") as child:
        child.wait_until(lambda: child.log_lines() == ["ready"], expected="that it is ready")
    with pytest.raises(Unexpected, match="got exit status -9"):
        child.require_running()


def test_waiting_for_a_process_that_has_ended_or_never_gets_ready_ends(tmp_path: Path) -> None:
    with (
        running("the bank", python("raise SystemExit(3)"), None, tmp_path / "log") as child,
        pytest.raises(Unexpected, match="the bank to keep running, got exit status 3"),
    ):
        child.wait_until(lambda: False, expected="an answer")
    with (
        running("the bank", python("import time; time.sleep(60)"), None, tmp_path / "log") as child,
        pytest.raises(Unexpected, match=r"expected an answer, got nothing within 0\.1 s"),
    ):
        child.wait_until(lambda: False, expected="an answer", seconds=0.1)


def test_a_command_that_fails_is_reported_with_its_message() -> None:
    with pytest.raises(Unexpected, match=r"expected exit status 0, got 1: broker: .*BROKER_ENCRYPTION_KEYS"):
        run_broker("callers", "list", environment={})


def test_the_tail_of_a_log_is_its_last_lines(tmp_path: Path) -> None:
    log = tmp_path / "log"
    assert tail(log) == []
    log.write_bytes(b"first\n" + b"middle \xff\n" * 20)
    assert len(tail(log)) == 15
    assert tail(log, None)[0] == "first"
