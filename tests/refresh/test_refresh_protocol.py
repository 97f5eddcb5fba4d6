"""The refresh protocol against a model of the bank: any order of steps, crashes at each, outages, lost answers.

Two processes share one connection in a real PostgreSQL, each with a spool on a real disk. Every step of every refresh
is a choice of hypothesis. After each choice the promises of docs/refresh.md are compared with the model.
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
# Shrinking would take minutes; a failure prints its steps, which are few enough to read.
_SETTINGS = settings(
    max_examples=_EXAMPLES, stateful_step_count=40, phases=[Phase.explicit, Phase.generate], print_blob=False
)
_AT_THE_BANK = (Step.CLAIMED, Step.WORKED)
_UNSAVED = (Step.ANSWERED, Step.SPOOLED, Step.WAITING)
# The user withdraws late, since little happens after it.
_LATE = 2
_EVENTS = (
    *("refresh",) * 4,
    *("go_on",) * 3,
    *("crash", "start", "let_time_pass") * 2,
    *("claim", "call", "lose_the_answer", "fail_at_the_bank", "withdraw_the_consent"),
    *("take_the_database_away", "bring_the_database_back", "bring_the_database_back", "cut_the_next_commit"),
)


class RefreshProtocol(RuleBasedStateMachine):
    """Every method with `@rule` is something that may happen next."""

    world: World

    @initialize(grants_grace=booleans())
    def begin(self, grants_grace: bool) -> None:
        self.bank = ModelBank(grants_grace=grants_grace)
        self.clock = AdjustableClock()
        self.database = self.world.database
        self.database.is_away = self.database.loses_next_commit = False
        tokens = TokenSet(SecretStr("access-1"), SecretStr(self.bank.current))
        self.connection_id = self.world.run(self.world.rows.insert(tokens, seconds_left=-1)).id
        self.processes: list[Process | None] = [None, None]
        self.directories = [next(self.world.directories) for _ in self.processes]
        self.version = 1
        # Refresh tokens that may be presented again, and successors that nobody can have any more.
        self.may_be_repeated: set[str] = set()
        self.lost: set[str] = set()
        for number in range(len(self.processes)):
            self.start(number)

    @rule(event=sampled_from(_EVENTS), number=integers(0, 3), steps=integers(1, 5))
    def let(self, event: str, number: int, steps: int) -> None:
        """One rule for all, since hypothesis would leave many of several out of each example."""
        getattr(self, event)(number, steps)

    # What may happen

    def refresh(self, number: int, steps: int) -> None:
        """A call notices that the token has expired, and the refresh comes so far."""
        self.claim(number)
        self.call(number)
        self.go_on(-1, steps)

    def claim(self, number: int, _steps: int = 0) -> None:
        """A call notices it, and the process is held up after its claim."""
        process = self._process(number)
        if process is None or process.idle_claim is not None:
            return
        version = self._held().connection.version
        claiming = process.refresher.claim(
            tenant=TENANT, connection_id=self.connection_id, version=version, cause=RefreshCause.EXPIRED
        )
        with suppress(BrokerError):
            process.idle_claim = self.world.run(claiming)

    def call(self, number: int, _steps: int = 0) -> None:
        """A process that has claimed goes to the bank."""
        process = self._process(number)
        if process is None or process.idle_claim is None:
            return
        claim, process.idle_claim = process.idle_claim, None
        self._take_off(process, process.refresher.carry_out(claim))

    def go_on(self, index: int, steps: int) -> None:
        """A refresh under way does its next steps."""
        for flight in self._under_way()[index:][:1]:
            for _ in range(steps):
                if not flight.is_over:
                    self._pass(flight)

    def lose_the_answer(self, _number: int, _steps: int) -> None:
        """The network breaks before or after the bank has worked."""
        self._fail(BankOutcomeUnknown("the model lost the answer"))

    def fail_at_the_bank(self, _number: int, _steps: int) -> None:
        """The bank fails, before or after it has used the token up."""
        self._fail(BankServerError("status 500"))

    def crash(self, number: int, _steps: int) -> None:
        """A process is killed."""
        for flight in self._under_way(number):
            self._forget(flight)
            self.world.run(flight.crash())
        self.processes[number % len(self.processes)] = None

    def start(self, number: int, _steps: int = 0) -> None:
        """A process that does not run is started, and replays what it finds."""
        number %= len(self.processes)
        if self.processes[number] is not None:
            return
        process = self.world.process(self.bank, self.clock, self.directories[number])
        self.processes[number] = process
        for unsaved in process.spool.entries():
            self._take_off(process, process.refresher.save(unsaved))

    def let_time_pass(self, _number: int = 0, _steps: int = 0) -> None:
        """Longer than a lease: calls end at their deadline, pauses are over; what is held up stays so."""
        self._fail(BankOutcomeUnknown("the deadline is over"))
        for flight in self._under_way():
            if flight.at in _UNSAVED and flight.presents is not None:
                self.may_be_repeated.add(flight.presents)
        self.clock.advance(2 * TIMING.lease)
        self.world.run(self._end_lease_and_pause())

    def take_the_database_away(self, _number: int, _steps: int) -> None:
        """Of the processes; the test still sees it."""
        self.database.is_away = True

    def bring_the_database_back(self, _number: int, _steps: int) -> None:
        """And all that is in it."""
        self.database.is_away = False

    def cut_the_next_commit(self, _number: int, _steps: int) -> None:
        """The next transaction takes place, and nobody hears of it."""
        self.database.loses_next_commit = True

    def withdraw_the_consent(self, _number: int, _steps: int) -> None:
        """The user ends it at the bank; late, since little happens after it."""
        if self.version > _LATE:
            self.bank.withdraw()

    # What must hold

    @invariant()
    def one_call_at_a_time(self) -> None:
        assert len(self._at_the_bank()) <= 1

    @invariant()
    def versions_only_rise(self) -> None:
        version = self._held().connection.version
        assert self.version <= version
        self.version = version

    @invariant()
    def the_bank_s_last_token_is_somewhere(self) -> None:
        if self.bank.ended_by is None:
            assert self.bank.current in self._known_tokens() | self.lost

    def teardown(self) -> None:
        """Let everything end, and ask once more: nothing may be left open."""
        if not hasattr(self, "bank"):
            return
        self.database.is_away = self.database.loses_next_commit = False
        for number in range(len(self.processes)):
            self.start(number)
            self.call(number)
        self._land_all()
        for _ in range(2):
            self.let_time_pass()
            self.claim(0)
            self.call(0)
            self._land_all()
        held = self._held()
        status, reason = stored.connection.status, stored.connection.reauthorization_reason
        if self.bank.ended_by is None:
            assert status is ConnectionStatus.ACTIVE
            assert _refresh_token(held) == self.bank.current
        else:
            assert status is ConnectionStatus.REAUTHORIZATION_REQUIRED
            honest = (
                ("refresh_outcome_lost",)
                if self.bank.ended_by == "reuse"
                else ("invalid_grant", "refresh_outcome_lost")
            )
            assert reason in honest
        assert [
            attempt for attempt in self.world.run(self.world.rows.attempts(self.connection_id)) if not attempt[1]
        ] == []

    # How it is done

    def _take_off(self, process: Process, work: Coroutine[Any, Any, None]) -> None:
        async def take_off() -> Flight:
            flight = Flight(work)
            await flight.settle()
            return flight

        flight = self.world.run(take_off())
        if not flight.is_over:
            process.flights.append(flight)

    def _pass(self, flight: Flight) -> None:
        if flight.at is Step.CLAIMED and flight.presents in self.bank.presented:
            assert flight.presents in self.may_be_repeated, "a token was presented twice without need"
        self.world.run(flight.go_on())

    def _fail(self, fault: BankServerError | BankOutcomeUnknown) -> None:
        for flight in self._at_the_bank():
            self._forget(flight)
            self.world.run(flight.go_on(fault))

    def _forget(self, flight: Flight) -> None:
        """Note what the world cannot know any more when this flight ends now."""
        if flight.presents is not None:
            self.may_be_repeated.add(flight.presents)
        if flight.brings is not None and flight.at in (Step.WORKED, Step.ANSWERED):
            self.lost.add(flight.brings)

    def _land_all(self) -> None:
        for _ in range(40):
            if not (flights := self._under_way()):
                return
            for flight in flights:
                self._pass(flight)
            self.world.run(self._end_lease_and_pause())
        raise AssertionError("a refresh does not end")

    def _process(self, number: int) -> Process | None:
        return self.processes[number % len(self.processes)]

    def _under_way(self, number: int | None = None) -> list[Flight]:
        chosen = self.processes if number is None else [self._process(number)]
        return [flight for process in chosen if process for flight in process.flights if not flight.is_over]

    def _at_the_bank(self) -> list[Flight]:
        return [flight for flight in self._under_way() if flight.at in _AT_THE_BANK]

    def _known_tokens(self) -> set[str | None]:
        flights = {flight.brings for flight in self._under_way()}
        spools = [SteppedSpool(directory, KEY_RING) for directory in self.directories]
        spooled = [unsaved.new.tokens.refresh_token for spool in spools for unsaved in spool.entries()]
        return {_refresh_token(self._held()), *flights, *(token.get_secret_value() for token in spooled if token)}

    def _held(self) -> ConnectionWithTokens:
        return self.world.run(self.world.rows.stored(self.connection_id))

    async def _end_lease_and_pause(self) -> None:
        if (await self.world.rows.stored(self.connection_id)).connection.status is ConnectionStatus.ACTIVE:
            await self.world.rows.change_connection(
                self.connection_id, lease_until=seconds_from_now(-1), retry_at=seconds_from_now(-1)
            )


def _refresh_token(held: ConnectionWithTokens) -> str | None:
    token = stored.tokens.refresh_token if stored.tokens else None
    return token.get_secret_value() if token else None


def test_no_order_of_steps_crashes_and_outages_breaks_the_promises(
    postgresql: SecretStr, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The server of the tests may have started just now, and whoever is to save first is stepped by the machine.
    monkeypatch.setattr("app.store.refreshes._GRACE_PERIOD_SECONDS", 0.0)
    with opened_world(postgresql, tmp_path) as world, structlog.testing.capture_logs():
        machine = type("RefreshProtocolHere", (RefreshProtocol,), {"world": world})
        run_state_machine_as_test(machine, settings=_SETTINGS)
