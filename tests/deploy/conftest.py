"""What the deployments need."""

import subprocess
from pathlib import Path

import pytest


@pytest.fixture
def secrets(tmp_path: Path) -> Path:
    """The directory of what deploy/secrets/generate makes."""
    subprocess.run(["deploy/secrets/generate", str(tmp_path)], check=True, capture_output=True)
    return tmp_path
