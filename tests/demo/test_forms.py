from app.demo.forms import Button, read_page

CONSENT = """
<!doctype html><title> Share your
 accounts · Bank</title><h1>Hello, <b>Thandi</b></h1><h1>Another</h1>
<input name="outside" value="no form">
<form method="POST" action="/login/consent?x=1&amp;y=2">
  <input type="hidden" name="interaction" value="a&amp;b">
  <input type="checkbox" name="account" value="one" checked>
  <input type="checkbox" name="account" value="two">
  <input type="checkbox" name="terms" checked>
  <input type="radio" name="speed" value="slow"><input type="radio" name="speed" value="fast" checked>
  <input name="username"><input type="password" name="password"><input>
  <input type="hidden" name="off" value="x" disabled>
  <input type="reset" name="reset" value="Reset"><button type="button" name="menu" value="x">Menu</button>
  <button name="decision" value="allow">Allow</button>
  <input type="submit" name="decision" value="cancel">
</form>
<form><button>Go</button></form>
"""


def test_a_form_sends_what_a_browser_would() -> None:
    form, _ = read_page(CONSENT).forms
    assert (form.method, form.action) == ("post", "/login/consent?x=1&y=2")
    filled_in = {"username": "thandi", "password": "p w&d", "unasked": "never sent"}
    assert form.submission(filled_in, form.buttons[0]) == [
        ("interaction", "a&b"),
        ("account", "one"),
        ("terms", "on"),
        ("speed", "fast"),
        ("username", "thandi"),
        ("password", "p w&d"),
        ("decision", "allow"),
    ]


def test_the_buttons_are_those_that_submit() -> None:
    first, second = read_page(CONSENT).forms
    assert first.buttons == [Button("decision", "allow"), Button("decision", "cancel")]
    assert (second.method, second.action, second.buttons) == ("get", "", [Button("", "")])
    assert second.submission({}, second.buttons[0]) == []


def test_title_and_first_heading_are_read_as_text() -> None:
    page = read_page(CONSENT)
    assert (page.title, page.heading) == ("Share your accounts · Bank", "Hello, Thandi")


def test_a_page_without_forms_has_none() -> None:
    page = read_page("<p>nothing")
    assert (page.title, page.heading, page.forms) == ("", "", [])
