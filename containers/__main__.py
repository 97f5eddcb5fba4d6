"""`python -m containers`: build, bring up, walk the journey through the gateway, roll, look, take down."""

import argparse
import json
from contextlib import ExitStack
from pathlib import Path

from app.demo.bank import SandboxBank
from app.demo.broker import Broker
from app.demo.caller import JOURNEY_NEEDS, DemoCaller
from app.demo.disguise import Disguise
from app.demo.ending import Ending
from app.demo.environment import clear_environment
from app.demo.expectations import Unexpected, expect
from app.demo.linking import Linking
from app.demo.printing import Printer, StepFailed
from app.demo.signals import Stopped, StopSignals
from app.demo.using import Using
from containers import images
from containers.database import lose_database, restore_database
from containers.engine import require_engine
from containers.loopback import LoopbackTransport
from containers.monitoring import look_at_monitoring
from containers.rolling import replace_all, restart_one
from containers.sides import look_at_sides
from containers.stack import REPLICAS, Stack, open_stack


def main() -> int:
    """Run, and return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m containers")
    parser.add_argument(
        "--prepare", type=Path, help="a program that provides an engine and images where there are none"
    )
    options = parser.parse_args()
    clear_environment()
    printer, signals = Printer(Disguise()), StopSignals()
    with signals.handled():
        try:
            with ExitStack() as stack:
                try:
                    holds = _run(printer, signals, stack, options.prepare)
                    signals.heed()
                finally:
                    signals.ignore()
        except Stopped as stopped:
            printer.renew()
            printer.line()
            printer.line("Stopped, with everything that was started.")
            return stopped.exit_status
    printer.line()
    if not holds:
        printer.line(f"It did not hold: step {printer.steps} failed.", "bold red")
        return 1
    printer.line(f"It all held: {printer.steps} steps in {printer.seconds:.0f} s.", "bold green")
    return 0


def _run(printer: Printer, signals: StopSignals, stack: ExitStack, prepare: Path | None) -> bool:
    printer.line("The images and docker-compose.yml, as an operator uses them.", "bold")
    printer.line()
    containers: Stack | None = None
    try:
        require_engine(printer, prepare)
        images.build(printer)
        images.look_into(printer)
        with signals.postponed():
            containers = stack.enter_context(open_stack(printer))
        _try(printer, containers)
    except StepFailed:
        if containers is not None:
            _show_logs(printer, containers)
        return False
    except (Unexpected, OSError) as error:
        printer.line(f"✗ {error}", "bold red")
        return False
    return True


def _try(printer: Printer, stack: Stack) -> None:
    with printer.step("Bring it up: database, migration, two replicas, bank, gateway") as step:
        step.sent("docker compose up --detach --wait")
        stack.compose("up", "--detach", "--wait", "gateway")
        for replica in REPLICAS:
            stack.wait_until_ready(replica)
        step.came(f"pages at {stack.public_url}, calls at {stack.internal_url}")
    caller = _create_caller(printer, stack)
    way = LoopbackTransport(stack.trust())
    broker = Broker(stack.internal_url, caller.api_key, public_url=stack.public_url, transport=way)
    bank = SandboxBank(stack.bank_url, way)
    images.look_at_containers(printer, stack)
    look_at_sides(printer, stack, broker)
    linked = Linking(printer, broker, bank).run()
    Using(printer, broker, bank, linked).run()
    restart_one(printer, stack, broker, linked)
    replace_all(printer, stack, broker, linked)
    lose_database(printer, stack, broker, linked)
    restore_database(printer, stack, broker, linked)
    Ending(printer, broker, bank, linked, caller=caller).run()
    look_at_monitoring(printer, stack)
    _search_logs(printer, stack)


def _create_caller(printer: Printer, stack: Stack) -> DemoCaller:
    with printer.step("Create a caller: an internal service with an API key") as step:
        granted = [part for permission in JOURNEY_NEEDS for part in ("--permission", permission.value)]
        command = ("broker", "callers", "create", "tried", *granted, "--json")
        step.sent(f"docker compose exec {REPLICAS[0]} {' '.join(command)}")
        created = json.loads(stack.execute(REPLICAS[0], *command))
        printer.disguise.hide(created["api_key"])
        step.came(json.dumps(created))
    return DemoCaller("tried", created["id"], created["api_key"])


def _search_logs(printer: Printer, stack: Stack) -> None:
    with printer.step("Search everybody's logs for the secrets of this run") as step:
        said = stack.logs()
        spoilt = [line for line in said.splitlines() if printer.disguise.apply(line) != line]
        expect([], spoilt[:3], what="lines with a secret")
        step.came(f"{len(said.splitlines())} lines, and none of {printer.disguise.count} secrets in them")


def _show_logs(printer: Printer, stack: Stack) -> None:
    printer.line()
    try:
        lines = stack.logs("--tail", "20")
    except Unexpected as error:
        lines = str(error)
    printer.line(lines)


if __name__ == "__main__":
    raise SystemExit(main())
