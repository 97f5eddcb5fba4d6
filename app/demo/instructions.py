"""What `make run` prints for the user: addresses, a key, a link and commands to paste."""

import json
import time
from typing import Any

import httpx

from app.demo.bank import Login, SandboxBank
from app.demo.broker import Broker, query_path
from app.demo.keys import KeyFile
from app.demo.printing import Printer
from app.demo.queries import accounts_query
from app.demo.startup_steps import RunningServers

_USER = "you"
_PENDING = ("pending", "exchanging")


class Instructions:
    """Starts a login for the user to complete, explains what to try, and waits."""

    def __init__(self, printer: Printer, servers: RunningServers, key_file: KeyFile, *, has_proxy: bool) -> None:
        self._printer = printer
        self._servers = servers
        self._key_file = key_file
        self._broker = Broker(servers.addresses.broker, servers.caller.api_key)
        self._curl = "curl -s --noproxy '*'" if has_proxy else "curl -s"

    def run(self) -> None:
        """Print the instructions, then wait for a signal. Raises Unexpected or StepFailed."""
        with self._printer.step("See who can log in at the sandbox bank") as step:
            logins = SandboxBank(self._servers.addresses.bank).logins(step)
        with self._printer.step("Ask the broker to link an account, for you to try") as step:
            response = self._broker.call(step, "POST", "/v1/sessions", expected=201, body={"user_id": _USER})
            session_id, link = str(response.member("id")), str(response.member("connect_url"))
            step.note(f"session {session_id}")
        self._print_addresses(link, logins)
        self._print_commands(session_id)
        self._printer.line()
        self._printer.line("Everything runs until you press Ctrl-C.", "bold")
        self._wait(session_id)

    def _print_addresses(self, link: str, logins: list[Login]) -> None:
        show = self._printer.unredacted_line
        show()
        show("The documentation of the API, where you can send requests", "bold")
        show(f"  {self._broker.url}/docs")
        show("A tutorial with curl, Python and JavaScript")
        show(f"  {self._broker.url}/docs/quickstart")
        show("A page to send GraphQL queries")
        show(f"  {self._broker.url}/docs/query")
        show()
        show("A development API key, with every permission", "bold")
        show(f"  {self._servers.caller.api_key}")
        show(f"  it stays valid, and is kept in {self._key_file.path}")
        show()
        show("A login to try: open this in a browser", "bold")
        show(f"  {link}")
        for login in logins:
            show(f"  bank {login.bank:<15} username {login.username:<8} password {login.password}")
        show("  The sandbox bank forgets all logins when it stops. After that, link an account again.")

    def _print_commands(self, session_id: str) -> None:
        show, url = self._printer.unredacted_line, self._broker.url
        key = '-H "Authorization: Bearer $KEY"'
        show()
        show("The same from a shell", "bold")
        show(f"  KEY={self._servers.caller.api_key}")
        show("  # start a session, then open its connect_url in a browser")
        show(f"  {self._curl} {url}/v1/sessions {key} {_json_body({'user_id': _USER})}")
        show("  # after you have logged in with the link above: get the connection, and query it")
        show(
            f"  CONNECTION=$({self._curl} '{url}/v1/sessions/{session_id}?wait=60' {key}"
            """ | sed -nE 's/.*"connection_id":"([^"]*)".*/\\1/p')"""
        )
        show(f'  {self._curl} "{url}{query_path("$CONNECTION")}" {key} {_json_body(accounts_query())}')

    def _wait(self, session_id: str) -> None:
        is_printed = False
        while True:
            for child in self._servers.children:
                child.require_running()
            # Polled without `wait`, because a broker first finishes such a request when it stops.
            is_printed = is_printed or self._print_end_of_login(session_id)
            time.sleep(1)

    def _print_end_of_login(self, session_id: str) -> bool:
        """Print how the login ended. Returns True once no more is to be printed."""
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
        self._printer.unredacted_line(f"  {self._curl} {self._broker.url}{path} {key} {_json_body(accounts_query())}")
        return True


def _json_body(body: dict[str, Any]) -> str:
    return f"-H 'content-type: application/json' -d '{json.dumps(body)}'"
