import signal
import subprocess
import sys

import httpx


def test_the_command_announces_its_port_and_exits_cleanly_on_sigterm() -> None:
    command = [sys.executable, "-m", "sandbox", "--port", "0", "--access-token-ttl", "60"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line.startswith("listening on http://127.0.0.1:")
        url = line.removeprefix("listening on ").strip()
        document = httpx.get(f"{url}/.well-known/openid-configuration", timeout=5).json()
        assert document["issuer"] == url
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=5) == 0
