"""Reads the pages: their blocks of code, and the comments between them that say what somebody else does meanwhile."""

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
_PLACES = ("*.md", "docs/**/*.md", "client/*.md", "sandbox/*.md")
_FENCE = re.compile(r"^(?P<indent> *)```(?P<language>\w*)\s*$")
_COMMENT = re.compile(r"^\s*<!-- (?P<deed>.+) -->\s*$")


@dataclass(frozen=True)
class Block:
    """Code of a page; `language` is what stands behind its fence."""

    page: str
    line: int
    language: str
    code: str

    @property
    def opening(self) -> str:
        """Its first line, by which it is known."""
        return self.code.splitlines()[0] if self.code else ""

    def __str__(self) -> str:
        return f"{self.page}:{self.line} ({self.language})"


@dataclass(frozen=True)
class Deed:
    """What somebody does between two blocks: `<!-- the user logs in -->`."""

    page: str
    line: int
    name: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line} <!-- {self.name} -->"


Step = Block | Deed


def pages() -> list[str]:
    """Return every page, as a path within the repository."""
    found = {path.relative_to(ROOT).as_posix() for place in _PLACES for path in ROOT.glob(place)}
    return sorted(found)


def steps(page: str) -> list[Step]:
    """Return what a page has its reader do, and others, in order."""
    found: list[Step] = []
    opened: re.Match[str] | None = None
    code: list[str] = []
    for number, line in enumerate((ROOT / page).read_text().splitlines(), 1):
        fence = _FENCE.match(line)
        if opened is None and fence is not None:
            opened, code = fence, []
        elif opened is not None and fence is not None:
            found.append(Block(page, number - len(code) - 1, opened["language"], "\n".join(code)))
            opened = None
        elif opened is not None:
            code.append(line.removeprefix(opened["indent"]))
        elif comment := _COMMENT.match(line):
            found.append(Deed(page, number, comment["deed"]))
    assert opened is None, f"{page} ends within a block of code"
    return found


def blocks(page: str) -> list[Block]:
    """Return the code of a page."""
    return [step for step in steps(page) if isinstance(step, Block)]
