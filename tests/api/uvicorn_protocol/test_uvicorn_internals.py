"""What we rely on inside uvicorn and httptools. After an upgrade, each failure here says which behaviour breaks."""

import asyncio
import inspect
from collections import deque
from typing import Any

import httptools
import pytest
import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState
from uvicorn.supervisors import Multiprocess
from uvicorn.supervisors.multiprocess import Process

from app.api.uvicorn_protocol import StrictHttpProtocol
from tests.api.uvicorn_protocol.test_joined_writes import Recorder
from tests.support.pinned_versions import assert_pinned_to_minor

HEAD_LIMIT = "the limit for heads, trailers and chunk extensions"
PIPELINE_LIMIT = "the limit for pipelined requests"
TRAILERS = "keeping trailers out of the headers"
UPGRADES = "ignoring offers of another protocol, against request smuggling"
INVALID_REQUESTS = "rejecting an invalid request without disturbing the request before it"
JOINED_WRITES = "writing a response's head together with its body"

GET = b"GET /x HTTP/1.1\r\nhost: b\r\n\r\n"
UPGRADE = b"POST /x HTTP/1.1\r\nhost: b\r\nconnection: upgrade\r\nupgrade: h2c\r\ncontent-length: 4\r\n\r\n"


class ConnectionRecorder(Recorder):
    """A recorder with what uvicorn expects of the transport of a whole connection."""

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return default

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass


async def respond(_: Any, receive: Any, send: Any) -> None:
    """Read the request, then send a small response."""
    while (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"4")]})
    await send({"type": "http.response.body", "body": b"body"})


def connect(
    protocol_class: type[HttpToolsProtocol] = HttpToolsProtocol,
) -> tuple[HttpToolsProtocol, ConnectionRecorder]:
    """Return a protocol and the transport that it is connected to."""
    config = uvicorn.Config(respond, http=protocol_class, log_config=None, access_log=False, ws="none", lifespan="off")
    protocol = protocol_class(config=config, server_state=ServerState(), app_state={})
    recorder = ConnectionRecorder()
    protocol.connection_made(recorder)
    return protocol, recorder


async def finish(protocol: HttpToolsProtocol) -> None:
    """Wait for the requests in progress, then close the connection."""
    while protocol.tasks:
        await asyncio.gather(*protocol.tasks)
        await asyncio.sleep(0)
    protocol.connection_lost(None)


@pytest.mark.parametrize("name", ["uvicorn", "httptools"])
def test_the_installed_version_is_within_the_pinned_minor_version(name: str) -> None:
    assert_pinned_to_minor(name)


@pytest.mark.parametrize(
    ("method", "parameters", "behaviour"),
    [
        ("data_received", ["data"], HEAD_LIMIT),
        ("on_headers_complete", [], f"{PIPELINE_LIMIT}; {TRAILERS}; {JOINED_WRITES}"),
        ("on_body", ["body"], HEAD_LIMIT),
        ("on_message_complete", [], f"{HEAD_LIMIT}; {UPGRADES}"),
        ("send_400_response", ["msg"], INVALID_REQUESTS),
        ("_unset_keepalive_if_required", [], "not closing a connection as idle while a request arrives"),
    ],
)
def test_a_method_of_the_protocol_exists(method: str, parameters: list[str], behaviour: str) -> None:
    function = getattr(HttpToolsProtocol, method, None)
    assert function is not None, f"HttpToolsProtocol.{method} is gone, which breaks: {behaviour}"
    signature = inspect.signature(function)
    assert list(signature.parameters) == ["self", *parameters], (
        f"HttpToolsProtocol.{method} has other parameters, {signature}, which breaks: {behaviour}"
    )


@pytest.mark.parametrize(
    ("attribute", "kind", "behaviour"),
    [
        ("transport", asyncio.Transport, f"{HEAD_LIMIT}; {INVALID_REQUESTS}; {JOINED_WRITES}"),
        ("parser", httptools.HttpRequestParser, UPGRADES),
        ("pipeline", deque, PIPELINE_LIMIT),
        ("headers", list, f"{TRAILERS}; {UPGRADES}"),
        ("scope", dict, TRAILERS),
        ("cycle", RequestResponseCycle, f"{HEAD_LIMIT}; {INVALID_REQUESTS}; {UPGRADES}; {JOINED_WRITES}"),
    ],
)
async def test_an_attribute_of_the_protocol_exists(attribute: str, kind: type, behaviour: str) -> None:
    protocol, _ = connect()
    protocol.data_received(GET)
    assert isinstance(getattr(protocol, attribute, None), kind), (
        f"HttpToolsProtocol.{attribute} is not a {kind.__name__}, which breaks: {behaviour}"
    )
    await finish(protocol)


@pytest.mark.parametrize(
    ("attribute", "value", "behaviour"),
    [
        ("keep_alive", True, UPGRADES),
        ("response_complete", False, f"{HEAD_LIMIT}; {INVALID_REQUESTS}"),
        ("waiting_for_100_continue", False, JOINED_WRITES),
    ],
)
async def test_an_attribute_of_the_cycle_exists(attribute: str, value: bool, behaviour: str) -> None:
    protocol, _ = connect()
    protocol.data_received(GET)
    assert getattr(protocol.cycle, attribute, None) is value, (
        f"RequestResponseCycle.{attribute} is not {value} for a new request, which breaks: {behaviour}"
    )
    await finish(protocol)


async def test_there_is_no_cycle_before_the_first_request() -> None:
    protocol, _ = connect()
    assert protocol.cycle is None, f"`cycle` has another initial value, which breaks: {INVALID_REQUESTS}"
    await finish(protocol)


async def test_a_response_is_written_through_the_transport_of_its_cycle_head_first() -> None:
    protocol, connection = connect()
    protocol.data_received(GET)
    assert protocol.cycle.transport is connection, f"the cycle has another transport, which breaks: {JOINED_WRITES}"
    assert connection.writes == [], f"the response is written before its transport is replaced: {JOINED_WRITES}"
    protocol.cycle.transport = response = ConnectionRecorder()
    await finish(protocol)
    assert connection.writes == [], f"a response bypasses the transport of its cycle, which breaks: {JOINED_WRITES}"
    assert [data[-4:] for data in response.writes] == [b"\r\n\r\n", b"body"], (
        f"a response is not one write for the head and one for the body, which breaks: {JOINED_WRITES}"
    )


async def test_our_protocol_joins_the_writes_of_uvicorn() -> None:
    protocol, connection = connect(StrictHttpProtocol)
    protocol.data_received(GET)
    await finish(protocol)
    assert len(connection.writes) == 1, f"this is broken: {JOINED_WRITES}"


async def test_pipelined_requests_wait_in_the_pipeline() -> None:
    protocol, _ = connect()
    protocol.data_received(GET * 3)
    assert len(protocol.pipeline) == 2, f"`pipeline` does not hold the waiting requests: {PIPELINE_LIMIT}"
    await finish(protocol)


async def test_trailers_are_added_to_the_headers_of_the_protocol() -> None:
    protocol, _ = connect(StrictHttpProtocol)
    protocol.data_received(b"POST /x HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n")
    protocol.data_received(b"0\r\nx-trailer: 1\r\n\r\n")
    assert (b"x-trailer", b"1") in protocol.headers, f"trailers go elsewhere, so check this: {TRAILERS}"
    assert (b"x-trailer", b"1") not in protocol.cycle.scope["headers"], f"this is broken: {TRAILERS}"
    await finish(protocol)


class Callbacks:
    """Records what a parser reports."""

    def __init__(self, *, fails: bool = False) -> None:
        self.calls: list[str] = []
        self._fails = fails

    def on_headers_complete(self) -> None:
        self.calls.append("on_headers_complete")
        if self._fails:
            raise httptools.HttpParserError("too many pipelined requests")

    def on_body(self, body: bytes) -> None:
        self.calls.append(f"on_body {body!r}")

    def on_message_complete(self) -> None:
        self.calls.append("on_message_complete")


def test_the_parser_stops_after_the_head_of_a_request_that_offers_another_protocol() -> None:
    callbacks = Callbacks()
    parser = httptools.HttpRequestParser(callbacks)
    with pytest.raises(httptools.HttpParserUpgrade) as caught:
        parser.feed_data(UPGRADE + b"body")
    assert parser.should_upgrade(), f"`should_upgrade` has another meaning, which breaks: {UPGRADES}"
    assert caught.value.args[0] == len(UPGRADE), f"the error has no offset of the rest, which breaks: {UPGRADES}"
    assert callbacks.calls == ["on_headers_complete", "on_message_complete"], (
        f"the parser makes other calls for an offer, so check this: {UPGRADES}"
    )


def test_the_parser_works_with_callbacks_for_the_body_only() -> None:
    class BodyCallbacks:
        def __init__(self) -> None:
            self.body = b""

        def on_body(self, body: bytes) -> None:
            self.body += body

    callbacks = BodyCallbacks()
    parser = httptools.HttpRequestParser(callbacks)
    parser.feed_data(b"POST / HTTP/1.1\r\ncontent-length: 4\r\n\r\n")
    parser.feed_data(b"body")
    assert callbacks.body == b"body", f"this breaks: {UPGRADES}"


def test_an_error_in_a_callback_ends_parsing_with_a_parser_error() -> None:
    with pytest.raises(httptools.HttpParserError):
        httptools.HttpRequestParser(Callbacks(fails=True)).feed_data(GET)


def test_the_parser_can_be_told_to_accept_data_after_close() -> None:
    parser = httptools.HttpRequestParser(Callbacks())
    parser.set_dangerous_leniencies(lenient_data_after_close=True)
    parser.feed_data(b"GET / HTTP/1.1\r\nconnection: close\r\n\r\n" + GET)


@pytest.mark.parametrize("method", ["handle_hup", "keep_subprocess_alive"])
def test_a_method_of_the_supervisor_exists(method: str) -> None:
    function = getattr(Multiprocess, method, None)
    assert function is not None, f"Multiprocess.{method} is gone, which `broker serve --workers` overrides"
    assert list(inspect.signature(function).parameters) == ["self"]


def test_the_supervisor_knows_its_processes() -> None:
    config = uvicorn.Config(respond, workers=2, log_config=None)
    assert Multiprocess(config, []).processes == [], "Multiprocess.processes has changed, so SIGHUP reaches no worker"
    process = Process(config, [])
    assert process.process.is_alive() is False, "Process.process has changed, so SIGHUP reaches no worker"
    assert isinstance(inspect.getattr_static(Process, "pid"), property), (
        "Process.pid is gone, so SIGHUP reaches no worker"
    )
    process.parent_conn.close()
    process.child_conn.close()
