"""The demo from its beginning to its end."""

from contextlib import ExitStack

from app.demo.bank import SandboxBank
from app.demo.broker import Broker
from app.demo.caller import JOURNEY_NEEDS, create_caller, kept_caller
from app.demo.disguise import Disguise
from app.demo.ending import Ending
from app.demo.environment import Place, clear_environment, fresh_place, kept_place
from app.demo.expectations import Unexpected
from app.demo.keys import KeyFile, fresh_keys
from app.demo.linking import AccountLinker
from app.demo.printing import Printer, StepFailed
from app.demo.processes import tail
from app.demo.signals import Stopped, StopSignals
from app.demo.start import Start
from app.demo.try_out import TryOut
from app.demo.using import Using


def run_demo(*, keep_running: bool, port: int) -> int:
    """Start everything, walk the journey or leave it to be tried, stop everything. Returns the exit status."""
    has_proxy = clear_environment()
    printer, signals = Printer(Disguise()), StopSignals()
    with signals.handled():
        try:
            with ExitStack() as stack:
                try:
                    holds = _run(printer, signals, stack, port=port, keep_running=keep_running, has_proxy=has_proxy)
                    signals.heed()
                finally:
                    signals.ignore()
        except Stopped as stopped:
            printer.renew()
            printer.line()
            printer.line("Stopped, with everything that was started.")
            return 0 if keep_running else stopped.exit_status
    printer.line()
    if not holds:
        printer.line(
            "It did not hold." if printer.steps == 0 else f"It did not hold: step {printer.steps} failed.", "bold red"
        )
        return 1
    printer.line(f"It all held: {printer.steps} steps in {printer.seconds:.1f} s.", "bold green")
    return 0


def _run(
    printer: Printer, signals: StopSignals, stack: ExitStack, *, port: int, keep_running: bool, has_proxy: bool
) -> bool:
    """Do the work and return whether it held; what was started stays on `stack`."""
    try:
        with signals.postponed():
            place = stack.enter_context(kept_place() if keep_running else fresh_place())
    except BlockingIOError:
        printer.line("✗ it is running already, from this directory: use that one, or stop it first", "bold red")
        return False
    except OSError as error:
        printer.line(f"✗ no directory for the data can be made: {error}", "bold red")
        return False
    try:
        if keep_running:
            _offer(printer, Start(printer, signals, stack, place), place, port=port, has_proxy=has_proxy)
        else:
            _walk(printer, Start(printer, signals, stack, place), port=port)
    except StepFailed:
        _show_logs(printer, place)
        return False
    except (Unexpected, OSError) as error:
        printer.line(f"✗ {error}", "bold red")
        _show_logs(printer, place)
        return False
    return True


def _walk(printer: Printer, start: Start, *, port: int) -> None:
    printer.line("The whole journey, with a database, a sandbox bank and a broker of its own.", "bold")
    printer.line("→ is what was sent, ← what came back; ••• stands for what nobody is to see.")
    printer.line()
    started = start.run(port, fresh_keys(), lambda known: create_caller(printer, known, "demo", JOURNEY_NEEDS))
    broker, bank = Broker(started.addresses.broker, started.caller.api_key), SandboxBank(started.addresses.bank)
    linked = AccountLinker(printer, broker, bank).run()
    Using(printer, broker, bank, linked).run()
    Ending(printer, broker, bank, linked, caller=started.caller).run()


def _offer(printer: Printer, start: Start, place: Place, *, port: int, has_proxy: bool) -> None:
    printer.line("A database, a sandbox bank and a broker, to be tried.", "bold")
    printer.line()
    key_file = KeyFile(place.home)
    keys = key_file.load(has_database=place.has_database)
    started = start.run(port, keys, lambda known: kept_caller(printer, known, "development", keys, key_file))
    TryOut(printer, started, key_file, has_proxy=has_proxy).run()


def _show_logs(printer: Printer, place: Place) -> None:
    for log in (*sorted(place.logs.glob("*.log")), place.database_log):
        if lines := tail(log):
            printer.line()
            printer.line(f"The last lines of {log.name}:", "bold")
            for line in lines:
                printer.line(f"    {line}")
