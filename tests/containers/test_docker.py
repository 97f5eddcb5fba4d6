"""How `make containers` runs programs: their errors, and that no process is left behind."""

import sys
import time
from pathlib import Path

import pytest

from app.demo.expectations import Unexpected
from containers.docker import run


def test_the_output_is_returned() -> None:
    assert run([sys.executable, "-c", "print('text')"], timeout_seconds=30) == "text\n"


def test_a_failure_contains_the_end_of_the_output() -> None:
    with pytest.raises(Unexpected) as caught:
        run([sys.executable, "-c", "import sys; sys.exit('no such image')"], timeout_seconds=30)
    assert caught.value.actual == "1: no such image"


def test_a_missing_program_is_reported() -> None:
    with pytest.raises(Unexpected, match="No such file"):
        run(["no-such-program"], timeout_seconds=30)


def test_after_a_timeout_the_program_and_its_children_are_killed(tmp_path: Path) -> None:
    created_by_child = tmp_path / "file"
    # Like a plugin of `docker`, the child does not keep the pipes open.
    script = f"(sleep 1; touch {created_by_child}) >/dev/null 2>&1 & wait"
    with pytest.raises(Unexpected, match=r"no end within 0\.2 s"):
        run(["sh", "-c", script], timeout_seconds=0.2)
    time.sleep(1.5)
    assert not created_by_child.exists()
