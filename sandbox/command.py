"""The command line: `python -m sandbox`."""

import argparse
import signal
import socket
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

import uvicorn

from sandbox.main import create_app
from sandbox.server import AnnouncingServer, DroppableProtocol
from sandbox.settings import CLIENT_ID, CLIENT_SECRET, REDIRECT_URIS, SandboxSettings


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve a sandbox bank until SIGTERM or SIGINT."""
    options = _parser().parse_args(arguments)
    listening = _bind(options.host, options.port)
    port = listening.getsockname()[1]
    settings = SandboxSettings(
        issuer=options.issuer or f"http://{options.host}:{port}",
        client_id=options.client_id,
        client_secret=options.client_secret,
        redirect_uris=tuple(options.redirect_uri or REDIRECT_URIS),
        client_jwks_file=options.client_jwks_file,
        access_token_ttl=options.access_token_ttl,
        refresh_reuse_grace=options.refresh_reuse_grace,
    )
    # uvicorn raises the signal again after its shutdown; ignoring it makes the exit code 0.
    signal.signal(signal.SIGTERM, _ignore)
    signal.signal(signal.SIGINT, _ignore)
    create_server(settings).run(sockets=[listening])


def create_server(settings: SandboxSettings) -> AnnouncingServer:
    """Create a server whose connections can be dropped by faults."""
    return AnnouncingServer(
        uvicorn.Config(
            create_app(settings),
            http=DroppableProtocol,
            lifespan="off",
            log_level="warning",
            access_log=False,
            # In seconds; longer than clients keep an idle connection, so that only they close one.
            timeout_keep_alive=75,
            timeout_graceful_shutdown=1,
        )
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m sandbox", description="An imitation of the Stitch bank API.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=9000, help="0 picks a free port")
    parser.add_argument("--issuer", help="default: http://HOST:PORT")
    parser.add_argument("--client-id", default=CLIENT_ID)
    parser.add_argument("--client-secret", default=CLIENT_SECRET)
    parser.add_argument("--redirect-uri", action="append", help="repeatable; matched exactly")
    parser.add_argument("--client-jwks-file", type=Path, help="the client's public keys, for private_key_jwt")
    parser.add_argument("--access-token-ttl", type=int, default=900, help="seconds")
    parser.add_argument(
        "--refresh-reuse-grace", type=float, default=0, help="seconds; 0 detects reuse of refresh tokens at once"
    )
    return parser


def _bind(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family, backlog=2048)


def _ignore(_signal: int, _frame: FrameType | None) -> None:
    pass
