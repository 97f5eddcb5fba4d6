"""Reads the forms of an HTML page, as a browser without scripts does."""

from dataclasses import dataclass, field
from html.parser import HTMLParser

# Sent without any input. Check boxes and radio buttons are only sent if they are checked.
_SENT_UNCHANGED = frozenset({"hidden"})
_CHECKABLE = frozenset({"checkbox", "radio"})
_NOT_SENT = frozenset({"button", "reset", "file", "image"})


@dataclass(frozen=True)
class Button:
    """Submits a form. Its name and value are sent too, if it has a name."""

    name: str
    value: str


@dataclass
class Form:
    """A form with its prefilled fields, its fields to fill in and its buttons."""

    action: str
    method: str
    prefilled: list[tuple[str, str]] = field(default_factory=list)
    to_fill_in: list[str] = field(default_factory=list)
    buttons: list[Button] = field(default_factory=list)

    def submission(self, filled_in: dict[str, str], button: Button | None) -> list[tuple[str, str]]:
        """Return the names and values that are sent."""
        pressed = [(button.name, button.value)] if button and button.name else []
        return [*self.prefilled, *((name, filled_in[name]) for name in self.to_fill_in), *pressed]


@dataclass
class Page:
    """The title, the first heading and the forms of a page."""

    title: str = ""
    heading: str = ""
    forms: list[Form] = field(default_factory=list)


def read_page(html: str) -> Page:
    """Read a page."""
    reader = _PageReader()
    reader.feed(html)
    reader.close()
    return reader.page


class _PageReader(HTMLParser):
    """Ignores fields outside of forms: the `form` attribute is not supported."""

    def __init__(self) -> None:
        super().__init__()
        self.page = Page()
        self._form: Form | None = None
        self._text: str | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = {name: value or "" for name, value in attrs}
        if tag == "form":
            self._form = Form(attributes.get("action", ""), attributes.get("method", "get").lower())
            self.page.forms.append(self._form)
        elif tag in ("title", "h1"):
            self._text = ""
        elif self._form is not None and "disabled" not in attributes:
            self._read_field(self._form, tag, attributes, is_checked="checked" in attributes)

    def handle_endtag(self, tag: str) -> None:
        if tag == "form":
            self._form = None
        elif tag in ("title", "h1") and self._text is not None:
            text, self._text = " ".join(self._text.split()), None
            if tag == "title":
                self.page.title = text
            elif not self.page.heading:
                self.page.heading = text

    def handle_data(self, data: str) -> None:
        if self._text is not None:
            self._text += data

    def _read_field(self, form: Form, tag: str, attributes: dict[str, str], *, is_checked: bool) -> None:
        name = attributes.get("name", "")
        kind = attributes.get("type", "submit" if tag == "button" else "text").lower()
        if tag in ("input", "button") and kind == "submit":
            form.buttons.append(Button(name, attributes.get("value", "")))
        elif tag != "input" or not name or kind in _NOT_SENT:
            return
        elif kind in _SENT_UNCHANGED:
            form.prefilled.append((name, attributes.get("value", "")))
        elif kind in _CHECKABLE:
            if is_checked:
                form.prefilled.append((name, attributes.get("value", "on")))
        else:
            form.to_fill_in.append(name)
