"""Several worker processes behind one port: what they count is added up, and SIGHUP reaches each of them."""

import contextlib
import os
import signal
import tempfile

from prometheus_client.multiprocess import mark_process_dead
from uvicorn import Config
from uvicorn.supervisors import Multiprocess

from app.observability.metrics import MULTIPROCESS_DIRECTORY_VARIABLE, serve_metrics


class _Workers(Multiprocess):
    """Uvicorn's supervisor, which would start every worker anew for a SIGHUP."""

    def handle_hup(self) -> None:
        """Pass it on."""
        for process in self.processes:
            if process.pid is not None and process.process.is_alive():
                os.kill(process.pid, signal.SIGHUP)

    def keep_subprocess_alive(self) -> None:
        """Replace workers that have died, and forget how full they were."""
        before = {process.pid for process in self.processes}
        super().keep_subprocess_alive()
        for pid in before - {process.pid for process in self.processes}:
            mark_process_dead(pid)  # type: ignore[no-untyped-call]


def serve_with_workers(config: Config, *, metrics_port: int | None) -> None:
    """Serve until told to stop. Raises ConfigurationError where `metrics_port` cannot be used."""
    with tempfile.TemporaryDirectory(prefix="broker-metrics-") as directory, contextlib.ExitStack() as stack:
        # Before the workers begin: the library looks when it is imported.
        os.environ[MULTIPROCESS_DIRECTORY_VARIABLE] = directory
        if metrics_port is not None:
            stack.enter_context(serve_metrics(metrics_port))
        _Workers(config, [config.bind_socket()]).run()
