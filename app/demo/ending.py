"""The last steps: revoke, be refused, see what the bank and the audit say."""

from datetime import datetime

from app.demo.bank import SandboxBank
from app.demo.broker import Broker
from app.demo.caller import DemoCaller
from app.demo.expectations import expect
from app.demo.linking import Linked
from app.demo.printing import Printer
from app.demo.queries import accounts_query

_REVOKED = "CONNECTION_REVOKED"
_DEEDS = (
    ("operator", "caller.created"),
    ("operator", "key.created"),
    ("the caller", "session.started"),
    ("broker", "connection.linked"),
    ("broker", "connection.refreshed"),
    ("broker", "connection.refreshed"),
    ("the caller", "connection.revoked"),
)


class Ending:
    """Revokes a connection, and looks at what is left."""

    def __init__(
        self, printer: Printer, broker: Broker, bank: SandboxBank, linked: Linked, *, caller: DemoCaller
    ) -> None:
        self._printer = printer
        self._broker = broker
        self._bank = bank
        self._linked = linked
        self._caller = caller

    def run(self) -> None:
        """Do all the steps."""
        self._revoke()
        self._query()
        self._ask_the_bank()
        self._read_the_audit()

    def _revoke(self) -> None:
        with self._printer.step("Revoke the connection") as step:
            self._broker.call(step, "DELETE", f"/v1/connections/{self._linked.connection_id}", expected=204)
            answer = self._broker.call(step, "GET", f"/v1/connections/{self._linked.connection_id}")
            expect("revoked", answer.member("status"), what="the connection's status")
            step.note("status revoked; its tokens are erased")

    def _query(self) -> None:
        with self._printer.step("A query is refused now") as step:
            answer = self._broker.query(step, self._linked.connection_id, accounts_query(), expected=409)
            expect(_REVOKED, answer.member("errors", 0, "extensions", "code"), what="the error's code")
            step.note(f"{_REVOKED}: {answer.member('errors', 0, 'message')}")

    def _ask_the_bank(self) -> None:
        with self._printer.step("The bank has revoked the tokens too") as step:
            family = self._bank.family_of(step, self._linked.login.subject)
            expect(False, family.get("alive"), what="whether the tokens still work")
            expect("revoked_by_client", family.get("death_reason"), what="why they no longer do")
            step.note("they are dead, for the reason revoked_by_client")

    def _read_the_audit(self) -> None:
        with self._printer.step("Read who did what") as step:
            events = self._broker.call(step, "GET", "/v1/audit").member("items")
            names = {self._caller.id: "the caller"}
            deeds = [(names.get(event["actor"], event["actor"]), event["action"]) for event in events]
            missing = [deed for deed in set(_DEEDS) if deeds.count(deed) < _DEEDS.count(deed)]
            expect([], missing, what="deeds that the audit lacks")
            rows = [
                (f"{datetime.fromisoformat(event['occurred_at']):%H:%M:%S.%f}"[:-3], *deed)
                for event, deed in zip(events, deeds, strict=True)
            ]
            step.table(("when (UTC)", "who", "what"), rows)
