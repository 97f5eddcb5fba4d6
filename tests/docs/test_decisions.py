"""docs/decisions: every record is numbered, dated, has a status, and is short."""

import re
from pathlib import Path

import pytest

RECORDS = sorted(Path("docs/decisions").glob("*.md"))
STATUSES = ("Accepted", r"Superseded by \[decision \d+\]\([\w-]+\.md\)")
# The limit that CONTRIBUTING.md sets.
MAX_LINES = 40


def test_numbers_are_consecutive() -> None:
    assert [int(record.name[:4]) for record in RECORDS] == list(range(1, len(RECORDS) + 1))


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: record.name)
def test_a_record_has_its_parts(record: Path) -> None:
    title, _, date_and_status, *rest = record.read_text().splitlines()
    assert title.startswith(f"# {int(record.name[:4])}. ")
    assert re.fullmatch(rf"Date: \d{{4}}-\d\d-\d\d\. Status: ({'|'.join(STATUSES)})\.", date_and_status)
    headings = [line for line in rest if line.startswith("## ")]
    assert headings[:2] == ["## Context", "## Decision"]
    assert headings[-1] == "## Consequences"
    assert len(rest) + 3 <= MAX_LINES
