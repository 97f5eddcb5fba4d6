"""What `make run` leaves to be tried: addresses, a key, a link and commands to paste."""

import json
import time
from typing import Any

import httpx

from app.demo.bank import Login, SandboxBank
from app.demo.broker import Broker, query_path
from app.demo.keys import KeyFile
from app.demo.printing import Printer
from app.demo.queries import accounts_query
from app.demo.start import Started

_USER = "you"
_PENDING = ("pending", "exchanging")


class TryOut:
    """Offers a login to be tried by hand, and waits for what becomes of it."""

    def __init__(self, printer: Printer, started: Started, key_file: KeyFile, *, has_proxy: bool) -> None:
        self._printer = printer
        self._started = started
        self._key_file = key_file
        self._broker = Broker(started.addresses.broker, started.caller.api_key)
        self._curl = "curl -s --noproxy '*'" if has_proxy else "curl -s"

    def run(self) -> None:
        """Print what can be tried, then wait until somebody stops the demo. Raises Unexpected, or StepFailed."""
        with self._printer.step("See who can log in at the sandbox bank") as step:
            logins = SandboxBank(self._started.addresses.bank).logins(step)
        with self._printer.step("Ask the broker to link an account, for you to try") as step:
            answer = self._broker.call(step, "POST", "/v1/sessions", expected=201, body={"user_id": _USER})
            session_id, link = str(answer.member("id")), str(answer.member("connect_url"))
            step.note(f"session {session_id}")
        self._print_addresses(link, logins)
        self._print_commands(session_id)
        self._printer.line()
        self._printer.line("Everything runs until you press Ctrl-C.", "bold")
        self._wait(session_id)

    def _print_addresses(self, link: str, logins: list[Login]) -> None:
        show = self._printer.reveal
        show()
        show("The calls, to be read and tried", "bold")
        show(f"  {self._broker.url}/docs")
        show("Step by step, with curl, Python and JavaScript")
        show(f"  {self._broker.url}/docs/quickstart")
        show("A page to send queries from")
        show(f"  {self._broker.url}/docs/query")
        show()
        show("A development API key, with every permission", "bold")
        show(f"  {self._started.caller.api_key}")
        show(f"  it stays good, and is kept in {self._key_file.path}")
        show()
        show("A login to try: open this in a browser", "bold")
        show(f"  {link}")
        for login in logins:
            show(f"  bank {login.bank:<15} username {login.username:<8} password {login.password}")
        show("  The sandbox bank forgets all logins when it stops; link anew after that.")

    def _print_commands(self, session_id: str) -> None:
        show, url = self._printer.reveal, self._broker.url
        key = '-H "Authorization: Bearer $KEY"'
        show()
        show("The same from a shell", "bold")
        show(f"  KEY={self._started.caller.api_key}")
        show("  # start a session, then open its connect_url in a browser")
        show(f"  {self._curl} {url}/v1/sessions {key} {_json_body({'user_id': _USER})}")
        show("  # once you have logged in with the link above: which connection came of it, and what it shows")
        show(
            f"  CONNECTION=$({self._curl} '{url}/v1/sessions/{session_id}?wait=60' {key}"
            """ | sed -nE 's/.*"connection_id":"([^"]*)".*/\\1/p')"""
        )
        show(f'  {self._curl} "{url}{query_path("$CONNECTION")}" {key} {_json_body(accounts_query())}')

    def _wait(self, session_id: str) -> None:
        is_over = False
        while True:
            for child in self._started.children:
                child.require_running()
            # Asked again and again, not held with `wait`: a broker that is to stop would first end such a request.
            is_over = is_over or self._follow(session_id)
            time.sleep(1)

    def _follow(self, session_id: str) -> bool:
        """Tell the end of the login, and return whether there was one."""
        try:
            response = self._broker.client.get(f"/v1/sessions/{session_id}")
        except httpx.TransportError:
            return False
        if response.status_code != 200:
            return True
        session: dict[str, Any] = response.json()
        if session["status"] in _PENDING:
            return False
        self._printer.line()
        if session["connection_id"] is None:
            self._printer.line(f"The login has ended: {session['status']}.")
            return True
        self._printer.line(f"The login has ended: {session['status']}. Query the connection with", "bold")
        path = query_path(session["connection_id"])
        key = '-H "Authorization: Bearer $KEY"'
        self._printer.reveal(f"  {self._curl} {self._broker.url}{path} {key} {_json_body(accounts_query())}")
        return True


def _json_body(body: dict[str, Any]) -> str:
    return f"-H 'content-type: application/json' -d '{json.dumps(body)}'"
