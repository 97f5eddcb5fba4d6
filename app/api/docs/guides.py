"""Reads the pages of `docs/` for `/docs/…`."""

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePosixPath

import app
from app.api.docs.markdown import page_as_html

# Next to the package in a checkout, inside it when installed.
_DIRECTORIES = (Path(app.__file__).parent.parent / "docs", Path(app.__file__).parent / "docs")
_SECTIONS = {
    "Begin": ("quickstart", "concepts"),
    "Guides": (
        "guides/web-app",
        "guides/mobile-app",
        "guides/unsuccessful-logins",
        "guides/renew",
        "guides/query",
        "interactions",
        "webhooks",
        "guides/revoke-and-erase",
    ),
    "In depth": ("errors", "login", "graphql", "refresh", "stitch", "security"),
}
# The only other file that pages link to.
COLLECTION = "postman.json"
_COMMENT = re.compile(r"^<!--.*-->\n+", re.MULTILINE)


@dataclass(frozen=True)
class Guide:
    """A page."""

    name: str
    title: str
    html: str


@dataclass(frozen=True)
class Section:
    """A section of the navigation."""

    title: str
    guides: list[Guide]


@cache
def read_guides() -> list[Section]:
    """Return the pages for developers; none if the package was installed without them."""
    directory = _directory()
    if directory is None:
        return []
    names = {name for section in _SECTIONS.values() for name in section if (directory / f"{name}.md").is_file()}
    return [
        Section(title, [_read(directory, name, names) for name in section if name in names])
        for title, section in _SECTIONS.items()
    ]


@cache
def read_collection() -> bytes | None:
    """Return the collection for Postman and Bruno, if the pages are installed."""
    directory = _directory()
    return (directory / COLLECTION).read_bytes() if directory else None


def _directory() -> Path | None:
    return next((path for path in _DIRECTORIES if (path / "quickstart.md").is_file()), None)


def _read(directory: Path, name: str, names: set[str]) -> Guide:
    text = _COMMENT.sub("", (directory / f"{name}.md").read_text(encoding="utf-8"))
    here = PurePosixPath(name).parent
    up = "../" * len(PurePosixPath(name).parts)

    def rewrite(link: str) -> str | None:
        if re.match(r"https?://|#", link):
            return link
        path, _, fragment = link.partition("#")
        target = _normalised(here / path).removesuffix(".md")
        # Relative, so that a gateway can serve everything below a path of its own.
        is_served = target in names or target == COLLECTION
        return f"{up}docs/{target}{'#' if fragment else ''}{fragment}" if is_served else None

    return Guide(name, text.partition("\n")[0].removeprefix("# "), page_as_html(text, rewrite))


def _normalised(path: PurePosixPath) -> str:
    parts: list[str] = []
    for part in path.parts:
        if part == ".." and parts:
            parts.pop()
        else:
            parts.append(part)
    return "/".join(parts)
