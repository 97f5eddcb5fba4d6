"""Runs the demo, and prints how it ended."""

from contextlib import ExitStack

from app.demo.bank import SandboxBank
from app.demo.broker import Broker
from app.demo.caller import JOURNEY_PERMISSIONS, create_caller, reuse_or_create_caller
from app.demo.environment import RunDirectory, clear_environment, kept_run_directory, temporary_run_directory
from app.demo.expectations import Unexpected
from app.demo.instructions import Instructions
from app.demo.keys import KeyFile, new_keys
from app.demo.login_steps import LoginSteps
from app.demo.printing import Printer, StepFailed
from app.demo.processes import tail
from app.demo.query_steps import QuerySteps
from app.demo.redaction import Redactor
from app.demo.revocation_steps import RevocationSteps
from app.demo.signals import Stopped, StopSignals
from app.demo.startup_steps import StartupSteps


def run_demo(*, keep_running: bool, port: int) -> int:
    """Start everything, run the journey or wait for the user, and stop everything. Returns the exit status."""
    has_proxy = clear_environment()
    printer, signals = Printer(Redactor()), StopSignals()
    with signals.handled():
        try:
            with ExitStack() as stack:
                try:
                    succeeded = _run(printer, signals, stack, port=port, keep_running=keep_running, has_proxy=has_proxy)
                    signals.raise_if_received()
                finally:
                    signals.ignore()
        except Stopped as stopped:
            printer.reset()
            printer.line()
            printer.line("Stopped, with everything that was started.")
            return 0 if keep_running else stopped.exit_status
    printer.line()
    if not succeeded:
        printer.line("Failed." if printer.steps == 0 else f"Failed: step {printer.steps}.", "bold red")
        return 1
    printer.line(f"Succeeded: {printer.steps} steps in {printer.seconds:.1f} s.", "bold green")
    return 0


def _run(
    printer: Printer, signals: StopSignals, stack: ExitStack, *, port: int, keep_running: bool, has_proxy: bool
) -> bool:
    """Run the demo and return whether it succeeded. What it starts stays on `stack`."""
    try:
        with signals.postponed():
            directory = stack.enter_context(kept_run_directory() if keep_running else temporary_run_directory())
    except BlockingIOError:
        printer.line("✗ it is running already, from this directory: use that one, or stop it first", "bold red")
        return False
    except OSError as error:
        printer.line(f"✗ the directory for the data cannot be made: {error}", "bold red")
        return False
    startup = StartupSteps(printer, signals, stack, directory)
    try:
        if keep_running:
            _wait_for_user(printer, startup, directory, port=port, has_proxy=has_proxy)
        else:
            _run_journey(printer, startup, port=port)
    except StepFailed:
        _print_logs(printer, directory)
        return False
    except (Unexpected, OSError) as error:
        printer.line(f"✗ {error}", "bold red")
        _print_logs(printer, directory)
        return False
    return True


def _run_journey(printer: Printer, startup: StartupSteps, *, port: int) -> None:
    printer.line("The whole journey, with a database, a sandbox bank and a broker of its own.", "bold")
    printer.line("→ is what was sent, ← what was received; ••• hides a secret.")
    printer.line()
    running = startup.run(
        port, new_keys(), lambda environment: create_caller(printer, environment, "demo", JOURNEY_PERMISSIONS)
    )
    broker, bank = Broker(running.addresses.broker, running.caller.api_key), SandboxBank(running.addresses.bank)
    linked = LoginSteps(printer, broker, bank).run()
    QuerySteps(printer, broker, bank, linked).run()
    RevocationSteps(printer, broker, bank, linked, caller=running.caller).run()


def _wait_for_user(
    printer: Printer, startup: StartupSteps, directory: RunDirectory, *, port: int, has_proxy: bool
) -> None:
    printer.line("A database, a sandbox bank and a broker, to try by hand.", "bold")
    printer.line()
    key_file = KeyFile(directory.home)
    keys = key_file.load(has_database=directory.has_database)
    running = startup.run(
        port,
        keys,
        lambda environment: reuse_or_create_caller(printer, environment, "development", keys, key_file),
    )
    Instructions(printer, running, key_file, has_proxy=has_proxy).run()


def _print_logs(printer: Printer, directory: RunDirectory) -> None:
    for log in (*sorted(directory.logs.glob("*.log")), directory.database_log):
        if lines := tail(log):
            printer.line()
            printer.line(f"The last lines of {log.name}:", "bold")
            for line in lines:
                printer.line(f"    {line}")
