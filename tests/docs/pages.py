"""Reads the pages: their blocks of code, and the comments between them that name an action of a user or the bank."""

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
_PLACES = ("*.md", "docs/**/*.md", "client/*.md", "sandbox/*.md")
_FENCE = re.compile(r"^(?P<indent> *)```(?P<language>\w*)\s*$")
_COMMENT = re.compile(r"^\s*<!-- (?P<action>.+) -->\s*$")


@dataclass(frozen=True)
class Block:
    """A block of code. `language` is the info string of its fence."""

    page: str
    line: int
    language: str
    code: str

    @property
    def opening(self) -> str:
        """The first line, which identifies the block."""
        return self.code.splitlines()[0] if self.code else ""

    def __str__(self) -> str:
        return f"{self.page}:{self.line} ({self.language})"


@dataclass(frozen=True)
class Action:
    """An action between two blocks, such as `<!-- the user logs in -->`."""

    page: str
    line: int
    name: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line} <!-- {self.name} -->"


Step = Block | Action


def pages() -> list[str]:
    """Return the path of every page in the repository."""
    paths = {path.relative_to(ROOT).as_posix() for place in _PLACES for path in ROOT.glob(place)}
    return sorted(paths)


def steps(page: str) -> list[Step]:
    """Return the blocks and actions of a page, in order."""
    result: list[Step] = []
    opened: re.Match[str] | None = None
    code: list[str] = []
    for number, line in enumerate((ROOT / page).read_text().splitlines(), 1):
        fence = _FENCE.match(line)
        if opened is None and fence is not None:
            opened, code = fence, []
        elif opened is not None and fence is not None:
            result.append(Block(page, number - len(code) - 1, opened["language"], "\n".join(code)))
            opened = None
        elif opened is not None:
            code.append(line.removeprefix(opened["indent"]))
        elif comment := _COMMENT.match(line):
            result.append(Action(page, number, comment["action"]))
    assert opened is None, f"{page} ends within a block of code"
    return result


def blocks(page: str) -> list[Block]:
    """Return the blocks of a page."""
    return [step for step in steps(page) if isinstance(step, Block)]
