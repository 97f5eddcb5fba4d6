"""Builds the images, and checks their contents and the restrictions of their containers."""

import json
from typing import Any

from app.demo.expectations import expect, expect_that
from app.demo.printing import Printer
from containers.docker import docker
from containers.engine import BASE_IMAGE
from containers.stack import BROKER_IMAGE, REPLICAS, ROOT, SANDBOX_IMAGE, Stack

_MEGABYTE = 1_000_000
_MAX_ADDED_MEGABYTES = 100
_BUILD_TIMEOUT_SECONDS = 1_200
_WRITABLE_DIRECTORIES = ("/tmp", "/var/lib/broker")  # noqa: S108 - paths in a container
_READ_ONLY_DIRECTORIES = ("/", "/opt/broker", "/etc")


def build_images(printer: Printer) -> None:
    """Build both images."""
    for target, image in (("broker", BROKER_IMAGE), ("sandbox", SANDBOX_IMAGE)):
        with printer.step(f"Build the image `{target}`") as step:
            # With the host's network, a package index that is configured on the host is reachable in the build.
            arguments = ("build", "--quiet", "--network", "host", "--target", target, "--tag", image, str(ROOT))
            step.sent(f"docker {' '.join(arguments[:-1])} .")
            docker(*arguments, timeout_seconds=_BUILD_TIMEOUT_SECONDS)
            step.received(f"{_size(image) / _MEGABYTE:,.0f} MB")


def check_image(printer: Printer) -> None:
    """Check the configuration and the size of the broker's image, and that it has no build or test tools."""
    with printer.step("Check the image `broker`") as step:
        config = _inspect(BROKER_IMAGE)["Config"]
        expect("10001:10001", config["User"], what="the user")
        expect("SIGTERM", config["StopSignal"], what="the stop signal")
        expect_that("healthz" in str(config["Healthcheck"]), expected="a health check", actual=config["Healthcheck"])
        title = config["Labels"].get("org.opencontainers.image.title")
        expect("stitch-token-broker", title, what="the title label")
        added = (_size(BROKER_IMAGE) - _size(BASE_IMAGE)) / _MEGABYTE
        expect_that(
            added <= _MAX_ADDED_MEGABYTES,
            expected=f"at most {_MAX_ADDED_MEGABYTES} MB on top of the base",
            actual=added,
        )
        step.received(f"{added:,.0f} MB on top of {BASE_IMAGE}; user {config['User']}, {config['StopSignal']}, labels")
        script = (
            "import importlib.util, shutil\n"
            "found = [name for name in ('pip', 'gcc', 'cc', 'g++', 'make', 'strip') if shutil.which(name)]\n"
            "found += [name for name in ('pip', 'sandbox', 'pytest', 'mypy') if importlib.util.find_spec(name)]\n"
            "print(found)"
        )
        printed = docker("run", "--rm", "--read-only", "--network", "none", BROKER_IMAGE, "python", "-c", script)
        expect("[]", printed.strip(), what="the build and test tools in the image")
        step.note("no pip, no compiler, no test tool, no sandbox")


def check_containers(printer: Printer, stack: Stack) -> None:
    """Check that the containers of the replicas have the restrictions of docker-compose.yml."""
    with printer.step("Check the containers of the replicas") as step:
        secrets = [file.read_text(encoding="utf-8").strip() for file in stack.secrets.iterdir()]
        for service in REPLICAS:
            container = stack.inspect(service)
            host = container["HostConfig"]
            expect(True, host["ReadonlyRootfs"], what="whether the root file system is read-only")
            expect(["ALL"], host["CapDrop"], what="the dropped capabilities")
            expect(["no-new-privileges:true"], host["SecurityOpt"], what="the security options")
            expect({}, host["PortBindings"], what="the published ports")
            configuration = json.dumps(container)
            leaked = [secret for secret in secrets if secret in configuration]
            expect([], leaked, what="the secrets in the container's configuration")
            expect("", _writable_by_mistake(stack, service), what="the directories that are writable by mistake")
        step.received("read-only, no capabilities, no new privileges, no published port, no secret in the environment")


def _writable_by_mistake(stack: Stack, service: str) -> str:
    """Return the read-only directories that can be written. Raises Unexpected if a writable one cannot."""
    script = (
        "import os\n"
        f"for directory in {_READ_ONLY_DIRECTORIES!r}:\n"
        "    try: open(os.path.join(directory, 'x'), 'w'); print(directory)\n"
        "    except OSError: pass\n"
        f"for directory in {_WRITABLE_DIRECTORIES!r}:\n"
        "    path = os.path.join(directory, 'x'); open(path, 'w'); os.remove(path)\n"
    )
    return stack.execute(service, "python", "-c", script).strip()


def _size(image: str) -> int:
    return int(_inspect(image)["Size"])


def _inspect(image: str) -> dict[str, Any]:
    [description] = json.loads(docker("image", "inspect", image))
    return dict(description)
