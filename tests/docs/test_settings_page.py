"""docs/settings.md has a row for every setting, with its default, and no row for anything else."""

import re
from pathlib import Path
from typing import Any

import pytest

from app.errors import ConfigurationError
from app.settings import PREFIX, Settings, load_settings

PAGE = Path("docs/settings.md").read_text()
# The last section names variables that are not the broker's own.
OWN = PAGE.partition("## Variables without the prefix")[0]
# What the page says if a default is None or computed.
WORDS = {"none", "required", "embedded", "discovered", "its thumbprint", "`DATABASE_URL`"}


def rows() -> dict[str, tuple[str, bool]]:
    """Return the default cell of each setting, and whether the setting may come from a file."""
    documented: dict[str, tuple[str, bool]] = {}
    for names, default, *_ in (line.strip("| ").split(" | ") for line in OWN.splitlines() if line.startswith("| `")):
        for name in re.findall(r"`(\w+)`", names):
            assert name not in documented, f"{name} has two rows"
            documented[name] = (default, "†" in names)
    return documented


def shown(value: Any) -> str:
    """Return a default as the page shows it, without units."""
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, int | float):
        return f"{value:,.0f}"
    if isinstance(value, tuple):
        return f"`{' '.join(value)}`" if value else "none"
    return f"`{value}`"


def test_every_setting_has_a_row_and_every_row_a_setting() -> None:
    assert set(rows()) == {name.upper() for name in Settings.model_fields}


def test_defaults_are_those_of_the_code() -> None:
    for name, field in Settings.model_fields.items():
        default, _ = rows()[name.upper()]
        if field.is_required():
            assert default == "required", name
        elif field.default is None:
            assert default in WORDS, name
        else:
            assert default.removesuffix(" s") == shown(field.default), name


def test_settings_that_may_come_from_a_file_are_marked(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, (_, marked) in rows().items():
        with monkeypatch.context() as environment:
            environment.setenv(f"{PREFIX}{name}_FILE", "/nowhere")
            with pytest.raises(ConfigurationError) as refusal:
                load_settings()
        assert (f"{PREFIX}{name}_FILE: /nowhere cannot be read" in refusal.value.detail) is marked, name


def test_settings_that_other_pages_name_exist() -> None:
    known = {f"{PREFIX}{name.upper()}{suffix}" for name in Settings.model_fields for suffix in ("", "_FILE")}
    known.add("BROKER_UNAVAILABLE")  # an error code
    for page in [*Path().glob("*.md"), *Path("docs").rglob("*.md"), *Path("client").glob("*.md")]:
        # `BROKER_STITCH_CLIENT_*` and the like stand for several.
        named = re.findall(rf"\b{PREFIX}[A-Z][A-Z_]*[A-Z]\b(?!\*|_\*|_?…)", page.read_text())
        assert [name for name in named if name not in known] == [], page
