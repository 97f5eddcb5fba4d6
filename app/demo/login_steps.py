"""The steps of a login: from the broker to the bank's pages and back, until an account is linked."""

import json
from dataclasses import dataclass
from typing import Any

import httpx

from app.demo.bank import Login, SandboxBank
from app.demo.broker import Broker
from app.demo.customer import Customer
from app.demo.exchange import require_status
from app.demo.expectations import Unexpected, expect, expect_that
from app.demo.forms import read_page
from app.demo.printing import Printer, Step

USER = "customer-1"
_LINKED = "Your account is linked"


@dataclass(frozen=True)
class LinkedAccount:
    """The result of a login: the connection, and the callback URL that completed it."""

    session_id: str
    connection_id: str
    login: Login
    customer: Customer
    callback_url: str


class LoginSteps:
    """Takes a customer through a login."""

    def __init__(self, printer: Printer, broker: Broker, bank: SandboxBank) -> None:
        self._printer = printer
        self._broker = broker
        self._bank = bank
        self._redactor = printer.redactor

    def run(self) -> LinkedAccount:
        """Run the steps."""
        session = self._start_session()
        login = self._choose_login()
        customer = Customer(
            {"username": login.username, "password": login.password},
            {("bank", login.bank), ("decision", "allow")},
            self._broker.transport,
        )
        page = self._open_link(customer, session["connect_url"])
        page = self._submit(customer, page, "The customer chooses a bank")
        page = self._submit(customer, page, "The customer logs in")
        callback_url = self._consent(customer, page)
        self._return(customer, callback_url)
        connection_id = self._wait(session["id"])
        self._show_connection(connection_id, login)
        return LinkedAccount(session["id"], connection_id, login, customer, callback_url)

    def _start_session(self) -> dict[str, Any]:
        with self._printer.step("Ask the broker to link an account") as step:
            response = self._broker.call(step, "POST", "/v1/sessions", expected=201, body={"user_id": USER})
            session: dict[str, Any] = response.member()
            self._redactor.add_secret_parameters(str(response.member("authorization_url")))
            link = str(response.member("connect_url"))
            self._redactor.add_secret(link.rpartition("/")[2])
            expect("pending", response.member("status"), what="the session's status")
            expect(f"/v1/sessions/{session['id']}", response.response.headers.get("location"), what="Location")
            step.note(f"session {session['id']}, {session['status']}; the customer is to open")
            step.note(link)
        return session

    def _choose_login(self) -> Login:
        with self._printer.step("See who can log in at the sandbox bank") as step:
            logins = self._bank.logins(step)
            expect_that(bool(logins), expected="at least one customer", actual=logins)
            login = logins[0]
            self._redactor.add_secret(login.password)
            step.note(", ".join(f"{candidate.username} ({candidate.bank})" for candidate in logins))
        return login

    def _open_link(self, customer: Customer, url: str) -> httpx.Response:
        with self._printer.step("The customer opens the link in a browser") as step:
            step.sent(f"GET {url}")
            redirect = customer.open(url)
            require_status(redirect, 303)
            location = self._redactor.add_secret_parameters(redirect.headers.get("location", ""))
            cookie = next(iter(redirect.cookies.items()), None)
            if cookie is None:
                raise Unexpected("a cookie that binds this browser to the session", "none")
            self._redactor.add_secret(cookie[1])
            step.received(f"303 See Other, with the cookie {cookie[0]}={cookie[1]}")
            step.note(f"and on to {location}")
            step.sent("GET that address, at the bank")
            page = customer.open(location)
            require_status(page, 200)
            step.received(_describe(page))
        return page

    def _submit(self, customer: Customer, page: httpx.Response, title: str) -> httpx.Response:
        with self._printer.step(title) as step:
            response = self._send_form(step, customer, page)
            require_status(response, 200)
            step.received(_describe(response))
        return response

    def _consent(self, customer: Customer, page: httpx.Response) -> str:
        with self._printer.step("The customer consents") as step:
            response = self._send_form(step, customer, page)
            require_status(response, 303)
            location = self._redactor.add_secret_parameters(response.headers.get("location", ""))
            expect_that(
                location.startswith(f"{self._broker.public_url}/callback?code="),
                expected="a redirect to the broker with a code",
                actual=location,
            )
            step.received(f"303 See Other, to {location}")
        return location

    def _return(self, customer: Customer, callback_url: str) -> None:
        with self._printer.step("The browser comes back to the broker") as step:
            step.sent(f"GET {callback_url}")
            page = customer.open(callback_url)
            require_status(page, 200)
            expect(_LINKED, read_page(page.text).heading, what="the page's heading")
            step.received(_describe(page))
            step.note("the broker has exchanged the code for tokens, checked the id_token and encrypted both")

    def _wait(self, session_id: str) -> str:
        with self._printer.step("Wait for the end of the login, as the internal service does") as step:
            response = self._broker.call(step, "GET", f"/v1/sessions/{session_id}?wait=30")
            expect("completed", response.member("status"), what="the session's status")
            for address in ("authorization_url", "connect_url"):
                expect(None, response.member(address), what=f"the session's {address}")
            connection_id = str(response.member("connection_id"))
            step.note(f"{response.member('status')}: connection {connection_id}")
        return connection_id

    def _show_connection(self, connection_id: str, login: Login) -> None:
        with self._printer.step("Look at the connection: no token is in it") as step:
            response = self._broker.call(step, "GET", f"/v1/connections/{connection_id}")
            for name, expected in (
                ("status", "active"),
                ("user_id", USER),
                ("subject", login.subject),
                ("version", 1),
                ("refreshable", True),
            ):
                expect(expected, response.member(name), what=name)
            for name, value in response.member().items():
                step.note(f"{name} = {json.dumps(value)}")

    def _send_form(self, step: Step, customer: Customer, page: httpx.Response) -> httpx.Response:
        for form in read_page(page.text).forms:
            for name, value in form.prefilled:
                if name == "interaction":
                    self._redactor.add_secret(value)
        submission = customer.submit(page)
        step.sent(f"{submission.method} {submission.url}")
        for name, value in submission.fields:
            step.note(f"{name} = {value}")
        return submission.response


def _describe(response: httpx.Response) -> str:
    page = read_page(response.text)
    return f"{response.status_code} {response.reason_phrase}, the page “{page.heading or page.title}”"
