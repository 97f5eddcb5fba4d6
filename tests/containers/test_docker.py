"""Programs that `make containers` runs: how they fail, and that none is left behind."""

import sys
import time
from pathlib import Path

import pytest

from app.demo.expectations import Unexpected
from containers.docker import run


def test_what_is_printed_comes_back() -> None:
    assert run([sys.executable, "-c", "print('said')"], seconds=30) == "said\n"


def test_a_failure_says_what_was_said_last() -> None:
    with pytest.raises(Unexpected) as caught:
        run([sys.executable, "-c", "import sys; sys.exit('no such image')"], seconds=30)
    assert caught.value.came == "1: no such image"


def test_a_program_that_is_not_there_is_told() -> None:
    with pytest.raises(Unexpected, match="No such file"):
        run(["no-such-program"], seconds=30)


def test_what_takes_too_long_is_ended_with_its_children(tmp_path: Path) -> None:
    left = tmp_path / "left"
    # The child keeps no pipe open, as a plugin of `docker` may not.
    script = f"(sleep 1; touch {left}) >/dev/null 2>&1 & wait"
    with pytest.raises(Unexpected, match=r"no end within 0\.2 s"):
        run(["sh", "-c", script], seconds=0.2)
    time.sleep(1.5)
    assert not left.exists()
