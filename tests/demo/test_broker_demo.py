"""`broker demo` as a user runs it."""

import os
import re
import signal
import socket
import subprocess
import sysconfig
import tempfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from app.demo.customer import Customer
from app.demo.environment import KEPT_DIRECTORY
from app.store.postgresql.embedded_as_root import remove_cluster

BROKER = Path(sysconfig.get_path("scripts")) / "broker"
# Settings that would break every process, and a proxy that does not respond.
HOSTILE = {
    "BROKER_PUBLIC_URL": "junk",
    "BROKER_DATABASE_URL": "junk",
    "BROKER_ENCRYPTION_KEYS_FILE": "/nowhere",
    "HTTP_PROXY": "http://127.0.0.1:1",
    "https_proxy": "http://127.0.0.1:1",
    "PGPORT": "1",
}
# Coverage of processes that tests start.
MEASURED = {name: value for name, value in os.environ.items() if name.startswith("COVERAGE_")}
# Tokens, states, codes, keys: 256 random bits have 43 characters of base64url, in hexadecimal more.
SECRET = re.compile(r"[A-Za-z0-9_-]{40,}")
STEPS = (
    "Start a database",
    "Make the broker's tables",
    "Create a caller",
    "Start the sandbox bank",
    "Start the broker",
    "Ask the broker to link an account",
    "The customer opens the link",
    "The customer chooses a bank",
    "The customer logs in",
    "The customer consents",
    "The browser comes back",
    "Wait for the end of the login",
    "Look at the connection",
    "Ask for accounts and balances",
    "Ask for the newest page of transactions",
    "The browser opens the callback again",
    "The access token expires",
    "Query again",
    "The access token expires",
    "20 queries at the same time",
    "Revoke the connection",
    "A query is refused",
    "The bank has revoked the tokens too",
    "Read the audit log: who did what",
)


@pytest.fixture
def directory() -> Iterator[Path]:
    """A directory with a space in its name, which root's PostgreSQL can reach too. It is also TMPDIR.

    Not tmp_path, because the path of a socket must be short, and the tests check that nothing is left behind.
    """
    with tempfile.TemporaryDirectory(prefix="a demo ") as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.fixture
def private(directory: Path) -> Iterator[Path]:
    """The same directory, which only its owner can enter, as a checkout in root's home."""
    directory.chmod(0o700)
    yield directory
    remove_cluster(directory / KEPT_DIRECTORY / "postgresql" / "cluster")


def start(directory: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [BROKER, "demo", *arguments],
        cwd=directory,
        env={"PATH": os.environ["PATH"], "TMPDIR": str(directory), "PYTHONIOENCODING": "utf-8", **HOSTILE, **MEASURED},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
    )


def processes_of(directory: Path) -> dict[int, str]:
    """Return the command lines of the processes with the directory in their environment, by process id."""
    found = {}
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if str(directory).encode() in (process / "environ").read_bytes():
                found[int(process.name)] = (process / "cmdline").read_text().replace("\0", " ")
        except OSError:
            continue
    return found


def read_until(process: subprocess.Popen[str], start_of_line: str) -> str:
    """Return the output up to a line that begins with `start_of_line`. Fails if there is none."""
    assert process.stdout is not None
    read = ""
    for line in process.stdout:
        read += line
        if line.startswith(start_of_line):
            return read
    raise AssertionError(read)


def stop(process: subprocess.Popen[str], number: signal.Signals) -> str:
    """Send a signal, wait for the end, and return what was printed from then on."""
    assert process.stdout is not None
    process.send_signal(number)
    rest = process.stdout.read()
    process.wait(120)
    return rest


def test_the_demo_walks_the_whole_journey_without_showing_a_secret(directory: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as occupied:
        port = occupied.getsockname()[1]
        with start(directory, "--port", str(port)) as process:
            output, _ = process.communicate(timeout=300)
    assert process.returncode == 0, output
    assert f"Port {port} cannot be used (Address already in use); the broker gets port" in output
    position = 0
    for step in STEPS:
        position = output.index(f". {step}", position) + 1
    assert "Fusion Cheque Account" in output
    assert "Authorization: Bearer ••• (66 characters)" in output
    assert re.fullmatch(r"Succeeded: 25 steps in [\d.]+ s\.", output.splitlines()[-1])
    assert SECRET.findall(output) == []
    assert "\x1b" not in output
    assert list(directory.iterdir()) == []
    assert processes_of(directory) == {}


def test_a_demo_that_is_stopped_leaves_nothing_behind(directory: Path) -> None:
    with start(directory) as process:
        output = read_until(process, " 4. ")
        output += stop(process, signal.SIGTERM)
    assert process.returncode == 128 + signal.SIGTERM, output
    assert output.splitlines()[-1] == "Stopped, with everything that was started."
    assert list(directory.iterdir()) == []
    assert processes_of(directory) == {}


def test_a_step_that_fails_says_why_and_fails_the_demo(directory: Path) -> None:
    with start(directory) as process:
        output = read_until(process, " 4. ")
        bank = next(number for number, command in processes_of(directory).items() if "-m sandbox" in command)
        os.kill(bank, signal.SIGKILL)
        assert process.stdout is not None
        output += process.stdout.read()
    assert process.returncode == 1, output
    assert "✗ expected " in output
    assert "The last lines of broker.log:" in output
    assert re.fullmatch(r"Failed: step [67]\.", output.splitlines()[-1])
    assert SECRET.findall(output) == []
    assert list(directory.iterdir()) == []
    assert processes_of(directory) == {}


def test_what_is_left_running_can_be_used_and_is_still_there_the_next_time(private: Path) -> None:
    with start(private, "--keep-running", "--port", "0") as process:
        lines = [line.strip() for line in read_until(process, "Everything runs").splitlines()]
        key = lines[lines.index("A development API key, with every permission") + 1]
        with start(private, "--keep-running", "--port", "0") as another:
            output, _ = another.communicate(timeout=60)
        assert (another.returncode, "it is running already" in output) == (1, True)
        link = lines[lines.index("A login to try: open this in a browser") + 1]
        shell = lines[lines.index("The same from a shell") + 1 : -2]
        log_in(link)
        read_until(process, "The login has ended: completed. Query the connection with")
        printed = subprocess.run(
            ["sh", "-e", "-c", "\n".join(shell)], capture_output=True, text=True, check=True, timeout=120
        ).stdout
        assert '"connect_url":"http://127.0.0.1:' in printed
        assert '"name":"MyMo Plus Account"' in printed
        stop(process, signal.SIGINT)
    assert process.returncode == 0
    assert processes_of(private) == {}
    with start(private, "--keep-running", "--port", "0") as process:
        lines = [line.strip() for line in read_until(process, "Everything runs").splitlines()]
        assert lines[lines.index("A development API key, with every permission") + 1] == key
        docs = lines[lines.index("The documentation of the API, where you can send requests") + 1]
        connections = httpx.get(
            f"{docs.removesuffix('/docs')}/v1/connections", headers={"authorization": f"Bearer {key}"}, trust_env=False
        ).json()["items"]
        assert [(connection["user_id"], connection["status"]) for connection in connections] == [("you", "active")]
        stop(process, signal.SIGINT)
    assert process.returncode == 0
    assert processes_of(private) == {}
    assert [path.name for path in private.iterdir()] == [".data"]


def log_in(link: str) -> None:
    """Log in with a browser, as the output says."""
    answers = {"username": "johan", "password": "johan-123"}
    customer = Customer(answers, {("bank", "standard_bank"), ("decision", "allow")})
    page = customer.open(customer.open(link).headers["location"])
    for _ in range(3):
        page = customer.submit(page).response
    assert customer.open(page.headers["location"]).status_code == 200
    customer.browser.close()
