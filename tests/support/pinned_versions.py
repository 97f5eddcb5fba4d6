"""Checks that a dependency whose internals we use is pinned to one minor version, which is the installed one."""

import tomllib
from importlib.metadata import version
from pathlib import Path

from packaging.requirements import Requirement
from packaging.version import Version

_PYPROJECT = Path(__file__).parents[2] / "pyproject.toml"


def assert_pinned_to_minor(name: str) -> None:
    """Check the requirement in pyproject.toml and the installed version of a dependency."""
    requirements = map(Requirement, tomllib.loads(_PYPROJECT.read_text())["project"]["dependencies"])
    allowed = next(requirement.specifier for requirement in requirements if requirement.name == name)
    installed = Version(version(name))
    next_minor = f"{installed.major}.{installed.minor + 1}"
    assert installed in allowed, f"{name} {installed} is installed, but pyproject.toml allows {allowed}"
    assert next_minor not in allowed, (
        f"pyproject.toml allows {name} {next_minor}, whose internals may differ: "
        "pin it to one minor version, and run this test file after every upgrade"
    )
