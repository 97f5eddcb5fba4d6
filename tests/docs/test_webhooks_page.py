"""The code of docs/webhooks.md runs unchanged."""

import re
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from app.webhooks.signing import new_secret, signed_headers

PAGE = (Path(__file__).parents[2] / "docs" / "webhooks.md").read_text()
BODY = b'{"type": "session.completed", "data": {}}'


def code_of(language: str) -> str:
    """Return the page's only block of a language."""
    [block] = re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)
    return str(block)


def test_the_python_receiver_accepts_genuine_requests_only() -> None:
    names: dict[str, Any] = {}
    exec(code_of("python"), names)
    secret = new_secret()
    headers = signed_headers([secret], "evt_1", int(time.time()), BODY)
    assert names["receive"](secret.get_secret_value(), BODY.decode(), headers) == 204
    assert names["receive"](new_secret().get_secret_value(), BODY.decode(), headers) == 401


@pytest.mark.skipif(shutil.which("node") is None, reason="needs Node.js")
def test_the_javascript_receiver_accepts_genuine_requests_only(tmp_path: Path) -> None:
    script = tmp_path / "receiver.mjs"
    script.write_text(
        code_of("js")
        + "\nconst [secret, body, headers] = process.argv.slice(2);\n"
        + "console.log(verify(secret, body, JSON.parse(headers)).type);\n"
    )
    new, old, other = new_secret(), new_secret(), new_secret()
    for secret, age, accepted in ((new, 0, True), (old, 0, True), (other, 0, False), (new, 600, False)):
        headers = signed_headers([new, old], "evt_1", int(time.time()) - age, BODY)
        text = repr(headers).replace("'", '"')
        done = subprocess.run(
            ["node", str(script), secret.get_secret_value(), BODY.decode(), text],
            check=False,
            capture_output=True,
            text=True,
        )
        assert (done.stdout == "session.completed\n") is accepted, done.stderr
