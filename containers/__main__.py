"""`python -m containers`: build and start everything, run all checks through the gateway, and remove everything."""

import argparse
import json
from contextlib import ExitStack
from pathlib import Path

from app.demo.bank import SandboxBank
from app.demo.broker import Broker
from app.demo.caller import JOURNEY_PERMISSIONS, DemoCaller
from app.demo.environment import clear_environment
from app.demo.expectations import Unexpected, expect
from app.demo.login_steps import LoginSteps
from app.demo.printing import Printer, StepFailed
from app.demo.query_steps import QuerySteps
from app.demo.redaction import Redactor
from app.demo.revocation_steps import RevocationSteps
from app.demo.signals import Stopped, StopSignals
from containers import images
from containers.database import check_backup_and_restore, check_database_outage
from containers.engine import require_engine
from containers.gateway import check_gateway
from containers.loopback import LoopbackTransport
from containers.monitoring import check_monitoring
from containers.rolling_restart import check_replacement, check_restart
from containers.stack import REPLICAS, Stack, open_stack


def main() -> int:
    """Run all checks, and return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m containers")
    parser.add_argument(
        "--prepare",
        type=Path,
        help="a program that provides an engine and the public images if they are missing",
    )
    options = parser.parse_args()
    clear_environment()
    printer, signals = Printer(Redactor()), StopSignals()
    with signals.handled():
        try:
            with ExitStack() as stack:
                try:
                    passed = _run(printer, signals, stack, options.prepare)
                    signals.raise_if_received()
                finally:
                    signals.ignore()
        except Stopped as stopped:
            printer.reset()
            printer.line()
            printer.line("Stopped; everything that was started is removed.")
            return stopped.exit_status
    printer.line()
    if not passed:
        printer.line(f"Step {printer.steps} failed.", "bold red")
        return 1
    printer.line(f"All {printer.steps} steps passed in {printer.seconds:.0f} s.", "bold green")
    return 0


def _run(printer: Printer, signals: StopSignals, stack: ExitStack, prepare: Path | None) -> bool:
    printer.line("Test of the images and docker-compose.yml.", "bold")
    printer.line()
    containers: Stack | None = None
    try:
        require_engine(printer, prepare)
        images.build_images(printer)
        images.check_image(printer)
        with signals.postponed():
            containers = stack.enter_context(open_stack(printer))
        _check(printer, containers)
    except StepFailed:
        if containers is not None:
            _print_logs(printer, containers)
        return False
    except (Unexpected, OSError) as error:
        printer.line(f"✗ {error}", "bold red")
        return False
    return True


def _check(printer: Printer, stack: Stack) -> None:
    with printer.step("Start the database, the migration, two replicas, the bank and the gateway") as step:
        step.sent("docker compose up --detach --wait")
        stack.compose("up", "--detach", "--wait", "gateway")
        for replica in REPLICAS:
            stack.wait_until_ready(replica)
        step.received(f"pages at {stack.public_url}, API at {stack.internal_url}")
    caller = _create_caller(printer, stack)
    transport = LoopbackTransport(stack.gateway_ssl_context())
    broker = Broker(stack.internal_url, caller.api_key, public_url=stack.public_url, transport=transport)
    bank = SandboxBank(stack.bank_url, transport)
    images.check_containers(printer, stack)
    check_gateway(printer, stack, broker)
    linked = LoginSteps(printer, broker, bank).run()
    QuerySteps(printer, broker, bank, linked).run()
    check_restart(printer, stack, broker, linked)
    check_replacement(printer, stack, broker, linked)
    check_database_outage(printer, stack, broker, linked)
    check_backup_and_restore(printer, stack, broker, linked)
    RevocationSteps(printer, broker, bank, linked, caller=caller).run()
    check_monitoring(printer, stack)
    _search_logs(printer, stack)


def _create_caller(printer: Printer, stack: Stack) -> DemoCaller:
    with printer.step("Create a caller: an internal service with an API key") as step:
        options = [part for permission in JOURNEY_PERMISSIONS for part in ("--permission", permission.value)]
        command = ("broker", "callers", "create", "container-test", *options, "--json")
        step.sent(f"docker compose exec {REPLICAS[0]} {' '.join(command)}")
        created = json.loads(stack.execute(REPLICAS[0], *command))
        printer.redactor.add_secret(created["api_key"])
        step.received(json.dumps(created))
    return DemoCaller("container-test", created["id"], created["api_key"])


def _search_logs(printer: Printer, stack: Stack) -> None:
    with printer.step("Search the logs of all services for the secrets of this run") as step:
        lines = stack.logs().splitlines()
        leaks = [line for line in lines if printer.redactor.redact(line) != line]
        expect([], leaks[:3], what="lines with a secret")
        step.received(f"{len(lines)} lines contain none of the {printer.redactor.count} secrets")


def _print_logs(printer: Printer, stack: Stack) -> None:
    printer.line()
    try:
        lines = stack.logs("--tail", "20")
    except Unexpected as error:
        lines = str(error)
    printer.line(lines)


if __name__ == "__main__":
    raise SystemExit(main())
