"""The pages of `docs/`, as `/docs/…` shows them."""

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePosixPath

import app
from app.api.docs.markdown import page_as_html

# Beside the package in a checkout, within it where it was installed.
_PLACES = (Path(app.__file__).parent.parent / "docs", Path(app.__file__).parent / "docs")
_SHELVES = {
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
# What pages link to beside pages.
COLLECTION = "postman.json"
_COMMENT = re.compile(r"^<!--.*-->\n+", re.MULTILINE)


@dataclass(frozen=True)
class Guide:
    """A page."""

    name: str
    title: str
    html: str


@dataclass(frozen=True)
class Shelf:
    """Pages of one kind, for the navigation."""

    title: str
    guides: list[Guide]


@cache
def read_guides() -> list[Shelf]:
    """Return the pages for developers that are there. None is, where the package was installed without them."""
    place = _place()
    if place is None:
        return []
    names = {name for shelf in _SHELVES.values() for name in shelf if (place / f"{name}.md").is_file()}
    return [
        Shelf(title, [_read(place, name, names) for name in shelf if name in names])
        for title, shelf in _SHELVES.items()
    ]


@cache
def read_collection() -> bytes | None:
    """Return the collection for Postman and Bruno, where the pages are."""
    place = _place()
    return (place / COLLECTION).read_bytes() if place else None


def _place() -> Path | None:
    return next((one for one in _PLACES if (one / "quickstart.md").is_file()), None)


def _read(place: Path, name: str, names: set[str]) -> Guide:
    text = _COMMENT.sub("", (place / f"{name}.md").read_text(encoding="utf-8"))
    here = PurePosixPath(name).parent
    up = "../" * len(PurePosixPath(name).parts)

    def rewrite(link: str) -> str | None:
        if re.match(r"https?://|#", link):
            return link
        path, _, fragment = link.partition("#")
        target = _normalised(here / path).removesuffix(".md")
        # Relative, so that a gateway may serve all of it below a path of its own.
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
