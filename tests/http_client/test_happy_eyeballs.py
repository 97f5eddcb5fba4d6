"""A name with several addresses: the first that answers is taken. The addresses are real ones of this machine."""

import asyncio
import socket
from typing import Any

import pytest

from app.http_client.happy_eyeballs import connect_first, interleaved
from tests.http_client.support import on_each_loop, serving


async def _wait(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
    await reader.read()


def _at(port: int, host: str = "127.0.0.1") -> tuple[socket.AddressFamily, tuple[Any, ...]]:
    return socket.AF_INET, (host, port)


def _deaf() -> tuple[list[socket.socket], int]:
    """Listen without ever accepting, and fill the queue, so that whoever else comes gets no answer."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(0)
    fillers = [socket.socket() for _ in range(2)]
    for filler in fillers:
        filler.setblocking(False)
        filler.connect_ex(listener.getsockname())
    return [listener, *fillers], listener.getsockname()[1]


@on_each_loop
async def test_the_next_address_is_tried_where_one_refuses() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        async with serving(_wait) as server:
            began = asyncio.get_running_loop().time()
            with await connect_first([_at(taken.getsockname()[1]), _at(server.port)]) as tcp:
                assert tcp.getpeername()[1] == server.port
                assert tcp.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            assert asyncio.get_running_loop().time() - began < 0.2, "no head start for what has failed"


@on_each_loop
async def test_the_next_address_is_tried_where_one_does_not_answer() -> None:
    sockets, port = _deaf()
    try:
        async with serving(_wait) as server:
            with await connect_first([_at(port), _at(server.port)]) as tcp:
                assert tcp.getpeername()[1] == server.port
    finally:
        for one in sockets:
            one.close()


@on_each_loop
async def test_no_address_answers() -> None:
    with socket.socket() as one, socket.socket() as another:
        for taken in (one, another):
            taken.bind(("127.0.0.1", 0))
        with pytest.raises(ConnectionRefusedError):
            await connect_first([_at(one.getsockname()[1]), _at(another.getsockname()[1])])
        with pytest.raises(OSError, match="no address"):
            await connect_first([])


@on_each_loop
async def test_those_still_trying_are_given_up_with_the_caller() -> None:
    sockets, port = _deaf()
    try:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.4):
                await connect_first([_at(port), _at(port)])
    finally:
        for one in sockets:
            one.close()


def test_the_families_take_turns() -> None:
    four, six = socket.AF_INET, socket.AF_INET6
    assert interleaved([(six, (1,)), (six, (2,)), (six, (3,)), (four, (4,))]) == [
        (six, (1,)),
        (four, (4,)),
        (six, (2,)),
        (six, (3,)),
    ]
    assert interleaved([]) == []
