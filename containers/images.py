"""The images: how they are built, what is in them, and how their containers are held."""

import json
from typing import Any

from app.demo.expectations import expect, expect_that
from app.demo.printing import Printer
from containers.docker import docker
from containers.engine import BASE
from containers.stack import BROKER_IMAGE, REPLICAS, ROOT, SANDBOX_IMAGE, Stack

_MEGABYTE = 1_000_000
_MOST_MEGABYTES = 100
_BUILD_SECONDS = 1_200
_WRITABLE = ("/tmp", "/var/lib/broker")  # noqa: S108 - asked of a container
_PROTECTED = ("/", "/opt/broker", "/etc")


def build(printer: Printer) -> None:
    """Build both images."""
    for target, image in (("broker", BROKER_IMAGE), ("sandbox", SANDBOX_IMAGE)):
        with printer.step(f"Build the image `{target}`") as step:
            # The network of this machine: a way to the package index that is set up here leads there from a build too.
            arguments = ("build", "--quiet", "--network", "host", "--target", target, "--tag", image, str(ROOT))
            step.sent(f"docker {' '.join(arguments[:-1])} .")
            docker(*arguments, seconds=_BUILD_SECONDS)
            step.came(f"{_size(image) / _MEGABYTE:,.0f} MB")


def look_into(printer: Printer) -> None:
    """See that the image holds what runs, and nothing that only builds."""
    with printer.step("Look into the image that serves and migrates") as step:
        config = _inspect(BROKER_IMAGE)["Config"]
        expect("10001:10001", config["User"], what="the user")
        expect("SIGTERM", config["StopSignal"], what="the signal to stop")
        expect_that("healthz" in str(config["Healthcheck"]), expected="a health check", came=config["Healthcheck"])
        title = config["Labels"].get("org.opencontainers.image.title")
        expect("stitch-token-broker", title, what="the label of the title")
        added = (_size(BROKER_IMAGE) - _size(BASE)) / _MEGABYTE
        expect_that(added <= _MOST_MEGABYTES, expected=f"at most {_MOST_MEGABYTES} MB more than its base", came=added)
        step.came(f"{added:,.0f} MB on top of {BASE}; user {config['User']}, {config['StopSignal']}, labels")
        script = (
            "import importlib.util, shutil\n"
            "found = [one for one in ('pip', 'gcc', 'cc', 'g++', 'make', 'strip') if shutil.which(one)]\n"
            "found += [one for one in ('pip', 'sandbox', 'pytest', 'mypy') if importlib.util.find_spec(one)]\n"
            "print(found)"
        )
        printed = docker("run", "--rm", "--read-only", "--network", "none", BROKER_IMAGE, "python", "-c", script)
        expect("[]", printed.strip(), what="tools that only build or test")
        step.note("no pip, no compiler, no test tool, no sandbox")


def look_at_containers(printer: Printer, stack: Stack) -> None:
    """See that the replicas are held as docker-compose.yml promises."""
    with printer.step("Look at the replicas' containers") as step:
        secrets = [file.read_text(encoding="utf-8").strip() for file in stack.secrets.iterdir()]
        for service in REPLICAS:
            container = stack.inspect(service)
            host = container["HostConfig"]
            expect(True, host["ReadonlyRootfs"], what="whether the root file system is read-only")
            expect(["ALL"], host["CapDrop"], what="the capabilities that are dropped")
            expect(["no-new-privileges:true"], host["SecurityOpt"], what="the security options")
            expect({}, host["PortBindings"], what="the ports that are open to others than the gateway")
            told = json.dumps(container)
            expect([], [one for one in secrets if one in told], what="secrets that the engine was told")
            expect("", _written(stack, service), what="what could be written where nothing may be")
        step.came("read-only, no capabilities, no privileges to gain, no port, no secret in the environment")


def _written(stack: Stack, service: str) -> str:
    script = (
        "import os\n"
        f"for place in {_PROTECTED!r}:\n"
        "    try: open(os.path.join(place, 'x'), 'w'); print(place)\n"
        "    except OSError: pass\n"
        f"for place in {_WRITABLE!r}: open(os.path.join(place, 'x'), 'w'); os.remove(os.path.join(place, 'x'))\n"
    )
    return stack.execute(service, "python", "-c", script).strip()


def _size(image: str) -> int:
    return int(_inspect(image)["Size"])


def _inspect(image: str) -> dict[str, Any]:
    [found] = json.loads(docker("image", "inspect", image))
    return dict(found)
