"""The refresh protocol against a model of the bank: any order of steps, with crashes, outages and lost responses.

Two processes share one connection in a real PostgreSQL, each with a spool on a real disk. Hypothesis chooses each step
of each refresh. After every step the guarantees of docs/refresh.md are checked against the model.
"""

import os
from collections.abc import Coroutine
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import structlog
from hypothesis import Phase, settings
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)
from hypothesis.strategies import booleans, integers, sampled_from
from pydantic import SecretStr

from app.errors import BankOutcomeUnknown, BankServerError, BrokerError
from app.store.connections import ConnectionWithTokens, TokenSet
from app.store.enums import ConnectionStatus, RefreshCause
from app.store.postgresql.database_time import seconds_from_now
from tests.support.clock import AdjustableClock
from tests.support.flights import Flight, Step, SteppedSpool
from tests.support.model_bank import ModelBank
from tests.support.refresh_world import KEY_RING, TIMING, Process, World, opened_world
from tests.support.rows import TENANT

# A longer search: REFRESH_PROTOCOL_EXAMPLES=5000 pytest tests/refresh/test_refresh_protocol.py
_EXAMPLES = int(os.environ.get("REFRESH_PROTOCOL_EXAMPLES", "50"))
# No shrinking, which would take minutes: a failure prints its steps, which are few enough to read.
_SETTINGS = settings(
    max_examples=_EXAMPLES, stateful_step_count=40, phases=[Phase.explicit, Phase.generate], print_blob=False
)
_AT_THE_BANK = (Step.CLAIMED, Step.REFRESHED)
_UNSAVED = (Step.RECEIVED, Step.SPOOLED, Step.RETRYING)
# The user withdraws the consent only after some refreshes, because little happens afterwards.
_MIN_VERSION_TO_WITHDRAW = 2
_EVENTS = (
    *("refresh",) * 4,
    *("resume",) * 3,
    *("crash", "start", "advance_time") * 2,
    *("claim", "call", "lose_the_response", "fail_at_the_bank", "withdraw_the_consent"),
    *("stop_the_database", "start_the_database", "start_the_database", "lose_the_next_commit"),
)


class RefreshProtocol(RuleBasedStateMachine):
    """The rule `happen` chooses the next event from the methods named in `_EVENTS`."""

    world: World

    @initialize(grants_grace=booleans())
    def begin(self, grants_grace: bool) -> None:
        self.bank = ModelBank(grants_grace=grants_grace)
        self.clock = AdjustableClock()
        self.database = self.world.database
        self.database.is_unavailable = self.database.loses_next_commit = False
        # Many ended connections of earlier examples would look like a storm of `invalid_grant`.
        self.world.run(self.world.rows.delete_all_connections())
        tokens = TokenSet(SecretStr("access-1"), SecretStr(self.bank.current))
        self.connection_id = self.world.run(self.world.rows.insert(tokens, seconds_left=-1)).id
        self.processes: list[Process | None] = [None, None]
        self.directories = [next(self.world.directories) for _ in self.processes]
        self.version = 1
        # Refresh tokens that may be sent again, and successors that are lost.
        self.may_be_sent_again: set[str] = set()
        self.lost: set[str] = set()
        for number in range(len(self.processes)):
            self.start(number)

    @rule(event=sampled_from(_EVENTS), number=integers(0, 3), steps=integers(1, 5))
    def happen(self, event: str, number: int, steps: int) -> None:
        """Let one event happen. One rule for all events: of several rules, hypothesis disables many in each example."""
        getattr(self, event)(number, steps)

    # Events

    def refresh(self, number: int, steps: int) -> None:
        """A request finds the token expired, and its refresh takes some steps."""
        self.claim(number)
        self.call(number)
        self.resume(-1, steps)

    def claim(self, number: int, _steps: int = 0) -> None:
        """A request finds the token expired, and its process is delayed after the claim."""
        process = self._process(number)
        if process is None or process.idle_claim is not None:
            return
        version = self._stored().connection.version
        claiming = process.refresher.claim(
            tenant=TENANT, connection_id=self.connection_id, version=version, cause=RefreshCause.EXPIRED
        )
        with suppress(BrokerError):
            process.idle_claim = self.world.run(claiming)

    def call(self, number: int, _steps: int = 0) -> None:
        """A process that has claimed the refresh calls the bank."""
        process = self._process(number)
        if process is None or process.idle_claim is None:
            return
        claim, process.idle_claim = process.idle_claim, None
        self._start_flight(process, process.refresher.carry_out(claim))

    def resume(self, index: int, steps: int) -> None:
        """A running refresh takes its next steps."""
        for flight in self._running()[index:][:1]:
            for _ in range(steps):
                if not flight.has_ended:
                    self._resume(flight)

    def lose_the_response(self, _number: int, _steps: int) -> None:
        """The network fails before or after the bank has rotated the tokens."""
        self._fail(BankOutcomeUnknown("the model lost the response"))

    def fail_at_the_bank(self, _number: int, _steps: int) -> None:
        """The bank fails before or after it has rotated the tokens."""
        self._fail(BankServerError("status 500"))

    def crash(self, number: int, _steps: int) -> None:
        """A process is killed."""
        for flight in self._running(number):
            self._forget(flight)
            self.world.run(flight.crash())
        self.processes[number % len(self.processes)] = None

    def start(self, number: int, _steps: int = 0) -> None:
        """A stopped process is started, and replays its spool."""
        number %= len(self.processes)
        if self.processes[number] is not None:
            return
        process = self.world.process(self.bank, self.clock, self.directories[number])
        self.processes[number] = process
        for unsaved in process.spool.entries():
            self._start_flight(process, process.refresher.save(unsaved))

    def advance_time(self, _number: int = 0, _steps: int = 0) -> None:
        """More time passes than a lease lasts: calls reach their deadline, and pauses end."""
        self._fail(BankOutcomeUnknown("the deadline has passed"))
        for flight in self._running():
            if flight.at in _UNSAVED and flight.sent_token is not None:
                self.may_be_sent_again.add(flight.sent_token)
        self.clock.advance(2 * TIMING.lease)
        self.world.run(self._end_lease_and_pause())

    def stop_the_database(self, _number: int, _steps: int) -> None:
        """The processes lose the database; the test still reads it."""
        self.database.is_unavailable = True

    def start_the_database(self, _number: int, _steps: int) -> None:
        """The database is available again, with its data."""
        self.database.is_unavailable = False

    def lose_the_next_commit(self, _number: int, _steps: int) -> None:
        """The next transaction is committed, but the connection is lost before the confirmation."""
        self.database.loses_next_commit = True

    def withdraw_the_consent(self, _number: int, _steps: int) -> None:
        """The user withdraws the consent at the bank."""
        if self.version > _MIN_VERSION_TO_WITHDRAW:
            self.bank.withdraw()

    # Guarantees

    @invariant()
    def at_most_one_call_is_running(self) -> None:
        assert len(self._at_the_bank()) <= 1

    @invariant()
    def versions_never_decrease_and_no_current_token_is_lost_unnoticed(self) -> None:
        """Both read the same row, which is half of the work of this test."""
        stored = self._stored()
        assert self.version <= stored.connection.version
        self.version = stored.connection.version
        if self.bank.ended_by is None:
            assert self.bank.current in {_refresh_token(stored)} | self._unsaved_tokens() | self.lost

    def teardown(self) -> None:
        """Let everything end, and refresh once more: nothing may stay unfinished."""
        if not hasattr(self, "bank"):
            return
        self.database.is_unavailable = self.database.loses_next_commit = False
        for number in range(len(self.processes)):
            self.start(number)
            self.call(number)
        self._finish_all()
        for _ in range(2):
            self.advance_time()
            self.claim(0)
            self.call(0)
            self._finish_all()
        stored = self._stored()
        status, reason = stored.connection.status, stored.connection.reauthorization_reason
        if self.bank.ended_by is None:
            assert status is ConnectionStatus.ACTIVE
            assert _refresh_token(stored) == self.bank.current
        else:
            assert status is ConnectionStatus.REAUTHORIZATION_REQUIRED
            possible_reasons = (
                ("refresh_outcome_lost",)
                if self.bank.ended_by == "reuse"
                else ("invalid_grant", "refresh_outcome_lost")
            )
            assert reason in possible_reasons
        assert [
            attempt for attempt in self.world.run(self.world.rows.attempts(self.connection_id)) if not attempt[1]
        ] == []

    # Helpers

    def _start_flight(self, process: Process, work: Coroutine[Any, Any, None]) -> None:
        async def start() -> Flight:
            flight = Flight(work)
            await flight.wait_until_stopped()
            return flight

        flight = self.world.run(start())
        if not flight.has_ended:
            process.flights.append(flight)

    def _resume(self, flight: Flight) -> None:
        if flight.at is Step.CLAIMED and flight.sent_token in self.bank.presented:
            assert flight.sent_token in self.may_be_sent_again, "a token was sent twice without need"
        self.world.run(flight.resume())

    def _fail(self, error: BankServerError | BankOutcomeUnknown) -> None:
        for flight in self._at_the_bank():
            self._forget(flight)
            self.world.run(flight.resume(error))

    def _forget(self, flight: Flight) -> None:
        """Note which tokens are lost or in doubt when this flight ends now."""
        if flight.sent_token is not None:
            self.may_be_sent_again.add(flight.sent_token)
        if flight.issued_token is not None and flight.at in (Step.REFRESHED, Step.RECEIVED):
            self.lost.add(flight.issued_token)

    def _finish_all(self) -> None:
        for _ in range(40):
            if not (flights := self._running()):
                return
            for flight in flights:
                self._resume(flight)
            self.world.run(self._end_lease_and_pause())
        raise AssertionError("a refresh does not end")

    def _process(self, number: int) -> Process | None:
        return self.processes[number % len(self.processes)]

    def _running(self, number: int | None = None) -> list[Flight]:
        chosen = self.processes if number is None else [self._process(number)]
        return [flight for process in chosen if process for flight in process.flights if not flight.has_ended]

    def _at_the_bank(self) -> list[Flight]:
        return [flight for flight in self._running() if flight.at in _AT_THE_BANK]

    def _unsaved_tokens(self) -> set[str | None]:
        """Return the issued tokens that running refreshes and spools have."""
        flights = {flight.issued_token for flight in self._running()}
        spools = [SteppedSpool(directory, KEY_RING) for directory in self.directories]
        spooled = [unsaved.new.tokens.refresh_token for spool in spools for unsaved in spool.entries()]
        return {*flights, *(token.get_secret_value() for token in spooled if token)}

    def _stored(self) -> ConnectionWithTokens:
        return self.world.run(self.world.rows.stored(self.connection_id, TENANT))

    async def _end_lease_and_pause(self) -> None:
        if (await self.world.rows.stored(self.connection_id, TENANT)).connection.status is ConnectionStatus.ACTIVE:
            await self.world.rows.change_connection(
                self.connection_id, lease_until=seconds_from_now(-1), retry_at=seconds_from_now(-1)
            )


def _refresh_token(stored: ConnectionWithTokens) -> str | None:
    token = stored.tokens.refresh_token if stored.tokens else None
    return token.get_secret_value() if token else None


def test_no_order_of_steps_crashes_and_outages_breaks_a_guarantee(
    postgresql: SecretStr, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The database server may have started just now, and the machine decides who saves first.
    monkeypatch.setattr("app.store.refreshes._GRACE_PERIOD_SECONDS", 0.0)
    with opened_world(postgresql, tmp_path) as world, structlog.testing.capture_logs():
        machine = type("RefreshProtocolHere", (RefreshProtocol,), {"world": world})
        run_state_machine_as_test(machine, settings=_SETTINGS)
