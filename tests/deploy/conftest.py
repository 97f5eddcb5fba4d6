"""Fixtures for the tests of the deployments."""

import subprocess
from pathlib import Path

import pytest


@pytest.fixture
def secrets(tmp_path: Path) -> Path:
    """A directory with the output of deploy/secrets/generate."""
    subprocess.run(["deploy/secrets/generate", str(tmp_path)], check=True, capture_output=True)
    return tmp_path
