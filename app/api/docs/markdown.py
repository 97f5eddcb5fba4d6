"""Renders Markdown as HTML. The pages are the project's own; HTML in them is escaped nevertheless."""

import re
from collections.abc import Callable, Sequence
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from markdown_it import MarkdownIt
    from markdown_it.token import Token

# The first cells of tables hold long names, which must be able to wrap on a narrow page.
_FIRST_CELL = re.compile(r"<tr>\n<td>.*?</td>")
Rewrite = Callable[[str], str | None]


@cache
def _markdown() -> "MarkdownIt":
    # Imported with the first page, because a start need not wait for it.
    from markdown_it import MarkdownIt  # noqa: PLC0415

    return MarkdownIt("commonmark", {"html": False}).enable("table")


def as_html(text: str, *, inline: bool = False) -> str:
    """Render a text; with `inline`, without a paragraph around it."""
    return str(_markdown().renderInline(text) if inline else _markdown().render(text))


def page_as_html(text: str, rewrite: Rewrite) -> str:
    """Render a page. Headings get ids. `rewrite` returns the target of a link, or None if it becomes plain text."""
    tokens = _markdown().parse(text)
    taken: dict[str, int] = {}
    for number, token in enumerate(tokens):
        if token.type == "heading_open":
            title = tokens[number + 1].content
            slug = slug_of(title)
            taken[slug] = taken.get(slug, 0) + 1
            token.attrSet("id", slug if taken[slug] == 1 else f"{slug}-{taken[slug] - 1}")
        elif token.children:
            _rewrite_links(token.children, rewrite)
    html = str(_markdown().renderer.render(tokens, _markdown().options, {}))
    html = _FIRST_CELL.sub(lambda cell: cell[0].replace("_", "_<wbr>"), html)
    # Scrollable elements must be reachable by keyboard. Angle brackets in text are escaped.
    return html.replace("<pre>", '<pre tabindex="0">').replace("<table>", '<table tabindex="0">')


def slug_of(title: str) -> str:
    """Return the id of a heading, in the form that code hosts use."""
    kept = "".join(character for character in title.lower() if character.isalnum() or character in " -_")
    return kept.replace(" ", "-")


def _rewrite_links(tokens: "Sequence[Token]", rewrite: Rewrite) -> None:
    opened: list[Token] = []
    for token in tokens:
        if token.type == "link_open":
            target = rewrite(str(token.attrGet("href") or ""))
            if target is None:
                token.type, token.tag, token.attrs = "text", "", {}
                token.content, token.nesting = "", 0
            else:
                token.attrSet("href", target)
            opened.append(token)
        elif token.type == "link_close" and opened.pop().type == "text":
            token.type, token.tag, token.nesting, token.content = "text", "", 0, ""
