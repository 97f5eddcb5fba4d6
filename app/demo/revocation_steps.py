"""The last steps: revoke the connection, and check that the broker, the bank and the audit log know."""

from datetime import datetime

from app.demo.bank import SandboxBank
from app.demo.broker import Broker
from app.demo.caller import DemoCaller
from app.demo.expectations import expect
from app.demo.login_steps import LinkedAccount
from app.demo.printing import Printer
from app.demo.queries import accounts_query

_REVOKED = "CONNECTION_REVOKED"
_AUDITED_ACTIONS = (
    ("operator", "caller.created"),
    ("operator", "key.created"),
    ("the caller", "session.started"),
    ("broker", "connection.linked"),
    ("broker", "connection.refreshed"),
    ("broker", "connection.refreshed"),
    ("the caller", "connection.revoked"),
)


class RevocationSteps:
    """Revokes a connection, and checks the result."""

    def __init__(
        self, printer: Printer, broker: Broker, bank: SandboxBank, linked: LinkedAccount, *, caller: DemoCaller
    ) -> None:
        self._printer = printer
        self._broker = broker
        self._bank = bank
        self._linked = linked
        self._caller = caller

    def run(self) -> None:
        """Run the steps."""
        self._revoke()
        self._query()
        self._check_bank()
        self._read_audit_log()

    def _revoke(self) -> None:
        with self._printer.step("Revoke the connection") as step:
            self._broker.call(step, "DELETE", f"/v1/connections/{self._linked.connection_id}", expected=204)
            response = self._broker.call(step, "GET", f"/v1/connections/{self._linked.connection_id}")
            expect("revoked", response.member("status"), what="the connection's status")
            step.note("status revoked; its tokens are erased")

    def _query(self) -> None:
        with self._printer.step("A query is refused now") as step:
            response = self._broker.query(step, self._linked.connection_id, accounts_query(), expected=409)
            expect(_REVOKED, response.member("errors", 0, "extensions", "code"), what="the error's code")
            step.note(f"{_REVOKED}: {response.member('errors', 0, 'message')}")

    def _check_bank(self) -> None:
        with self._printer.step("The bank has revoked the tokens too") as step:
            family = self._bank.family_of(step, self._linked.login.subject)
            expect(False, family.get("alive"), what="whether the tokens still work")
            expect("revoked_by_client", family.get("death_reason"), what="why they no longer work")
            step.note("they no longer work, for the reason revoked_by_client")

    def _read_audit_log(self) -> None:
        with self._printer.step("Read the audit log: who did what") as step:
            events = self._broker.call(step, "GET", "/v1/audit").member("items")
            names = {self._caller.id: "the caller"}
            actions = [(names.get(event["actor"], event["actor"]), event["action"]) for event in events]
            missing = [
                action for action in set(_AUDITED_ACTIONS) if actions.count(action) < _AUDITED_ACTIONS.count(action)
            ]
            expect([], missing, what="actions that the audit log lacks")
            rows = [
                (f"{datetime.fromisoformat(event['occurred_at']):%H:%M:%S.%f}"[:-3], *action)
                for event, action in zip(events, actions, strict=True)
            ]
            step.table(("when (UTC)", "who", "what"), rows)
