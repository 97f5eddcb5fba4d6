"""The first steps: a database, its tables, a caller, a bank and a broker."""

import json
import sys
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass

import httpx

from app.demo.caller import DemoCaller
from app.demo.environment import CLIENT_ID, Addresses, RunDirectory, broker_environment
from app.demo.exchange import exchange, open_client
from app.demo.keys import Keys
from app.demo.ports import HOST, chosen_ports
from app.demo.printing import Printer
from app.demo.processes import ChildProcess, broker_command, run_broker, running
from app.demo.signals import StopSignals
from app.store.postgresql.embedded import embedded_postgresql

_BANK_PORT = 9000
_LISTENING = "listening on "


@dataclass(frozen=True)
class RunningServers:
    """The running servers, and a caller of the broker."""

    addresses: Addresses
    caller: DemoCaller
    children: tuple[ChildProcess, ...]


class StartupSteps:
    """Starts everything. `stack` stops it."""

    def __init__(self, printer: Printer, signals: StopSignals, stack: ExitStack, directory: RunDirectory) -> None:
        self._printer = printer
        self._signals = signals
        self._stack = stack
        self._directory = directory

    def run(self, port: int, keys: Keys, get_caller: Callable[[dict[str, str]], DemoCaller]) -> RunningServers:
        """Run the steps. `get_caller` gets the environment for `broker` commands."""
        self._printer.redactor.add_secret(keys.encryption_keys)
        self._printer.redactor.add_secret(keys.client_secret)
        addresses = self._choose_addresses(port)
        environment = broker_environment(
            self._directory,
            addresses,
            database_url=self._start_database(),
            encryption_keys=keys.encryption_keys,
            client_secret=keys.client_secret,
        )
        self._migrate(environment)
        caller = get_caller(environment)
        bank = self._start_bank(addresses, keys.client_secret)
        broker = self._start_broker(addresses, environment)
        return RunningServers(addresses, caller, (broker, bank))

    def _choose_addresses(self, port: int) -> Addresses:
        preferred_ports = {"the broker": port, "the sandbox bank": _BANK_PORT}
        chosen = self._stack.enter_context(chosen_ports(list(preferred_ports.values())))
        for (name, preferred), (actual, reason) in zip(preferred_ports.items(), chosen, strict=True):
            if reason is not None:
                self._printer.line(f"Port {preferred} cannot be used ({reason}); {name} gets port {actual}.", "yellow")
        broker, bank = (f"http://{HOST}:{actual}" for actual, _ in chosen)
        return Addresses(broker, bank)

    def _start_database(self) -> str:
        with self._printer.step("Start a database") as step:
            step.sent("an embedded PostgreSQL, which needs no installation")
            with self._signals.postponed():
                url = self._stack.enter_context(embedded_postgresql(self._directory.home))
            step.received(f"it runs, with its data in {self._directory.home}")
        return url.get_secret_value()

    def _migrate(self, environment: dict[str, str]) -> None:
        with self._printer.step("Make the broker's tables") as step:
            step.sent("broker migrate")
            step.received(run_broker("migrate", environment=environment))

    def _start_bank(self, addresses: Addresses, client_secret: str) -> ChildProcess:
        port = addresses.bank.rpartition(":")[2]
        with self._printer.step("Start the sandbox bank, an imitation of Stitch") as step:
            step.sent(f"python -m sandbox --port {port}")
            arguments = [
                *(sys.executable, "-m", "sandbox", "--host", HOST, "--port", port),
                *(f"--client-id={CLIENT_ID}", f"--client-secret={client_secret}"),
                f"--redirect-uri={addresses.broker}/callback",
                f"--redirect-uri={addresses.broker}/connect/interactions",
            ]
            bank = self._run("bank", arguments, None)
            bank.wait_until(lambda: _listening_line(bank) is not None, expected="the bank to listen")
            step.received(_listening_line(bank) or "")
        return bank

    def _start_broker(self, addresses: Addresses, environment: dict[str, str]) -> ChildProcess:
        port = addresses.broker.rpartition(":")[2]
        with self._printer.step("Start the broker") as step, open_client(addresses.broker) as client:
            step.sent(f"broker serve --port {port}")
            broker = self._run("broker", broker_command("serve", "--host", HOST, "--port", port), environment)
            broker.wait_until(lambda: _is_ready(client), expected="the broker to be ready")
            response = exchange(step, client, "GET", "/readyz")
            step.note(json.dumps(response.member()))
        return broker

    def _run(self, name: str, arguments: list[str], environment: dict[str, str] | None) -> ChildProcess:
        with self._signals.postponed():
            return self._stack.enter_context(
                running(f"the {name}", arguments, environment, self._directory.logs / f"{name}.log")
            )


def _listening_line(bank: ChildProcess) -> str | None:
    return next((line for line in bank.log_lines() if line.startswith(_LISTENING)), None)


def _is_ready(client: httpx.Client) -> bool:
    try:
        return client.get("/readyz").status_code == 200
    except httpx.TransportError:
        return False
