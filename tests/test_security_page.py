"""`docs/security.md` names tests: they must be there."""

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "security.md").read_text()


def test_every_test_that_the_page_names_exists() -> None:
    files = set(re.findall(r"tests/[\w/]+\.py", PAGE))
    assert len(files) > 15
    assert [file for file in sorted(files) if not (ROOT / file).is_file()] == []
    everything = "".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    assert [name for name in re.findall(r"`(test_\w+)`", PAGE) if f"def {name}(" not in everything] == []
