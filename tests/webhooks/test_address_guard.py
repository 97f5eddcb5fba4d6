"""Which addresses webhooks may have, however they are written and whatever their names resolve to."""

import asyncio
import socket
import threading
from typing import Any

import pytest

from app.webhooks.address_guard import AddressGuard, AddressNotAllowed, host_of
from tests.support.eventually import eventually

PUBLIC = ["1.1.1.1", "93.184.215.14", "2606:4700:4700::1111", "::ffff:1.1.1.1", "64:ff9b::101:101"]
PRIVATE = [
    *("127.0.0.1", "127.8.8.8", "0.0.0.0", "10.1.2.3", "172.16.0.1", "192.168.1.1", "100.64.0.1"),
    *("169.254.169.254", "192.0.2.1", "224.0.0.1", "255.255.255.255", "240.0.0.1"),
    *("::1", "::", "fe80::1", "fe80::1%eth0", "fd00:ec2::254", "ff02::1", "2001:db8::1"),
    *("::ffff:127.0.0.1", "::ffff:169.254.169.254", "64:ff9b::7f00:1", "2002:7f00:1::", "2002:a9fe:a9fe::1"),
    *("fec0::1", "feff::1", "::7f00:1", "::101:101", "64:ff9b:1::7f00:1", "64:ff9b:1:ffff::101:101"),
    *("192.0.0.192", "::ffff:0:10.0.0.1", "100:0:0:1::1", "3fff::1", "5f00::1", "4000::1", "e000::1"),
    *("168.63.129.16", "::ffff:168.63.129.16", "64:ff9b::a83f:8110", "2002:a83f:8110::"),
    *("2130706433", "0x7f.1", "127.1", "not an address", ""),
]


def connect(guard: AddressGuard, address: str) -> None:
    """Create the socket as the connector does before it connects."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    guard.open_socket((family, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (address, 443))).close()


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_are_allowed(address: str) -> None:
    connect(AddressGuard(()), address)


@pytest.mark.parametrize("address", PRIVATE)
def test_other_addresses_are_not_allowed(address: str) -> None:
    with pytest.raises(AddressNotAllowed):
        connect(AddressGuard(()), address)


def test_the_settings_can_allow_a_network_and_only_that() -> None:
    guard = AddressGuard(("10.0.0.0/8", "fd00::/8"))
    for address in ("10.1.2.3", "::ffff:10.1.2.3", "fd00::1", "1.1.1.1"):
        connect(guard, address)
    for address in ("127.0.0.1", "192.168.1.1", "fe80::1"):
        with pytest.raises(AddressNotAllowed):
            connect(guard, address)


@pytest.mark.parametrize(
    "url",
    [
        *("https://127.0.0.1/", "https://[::1]:8443/", "https://localhost/", "https://2130706433/", "https://0x7f.1/"),
        *("https://127.1/", "https://169.254.169.254/latest/meta-data/", "https://[::ffff:7f00:1]/"),
    ],
)
async def test_a_private_address_is_recognised_in_every_spelling(url: str) -> None:
    assert not await AddressGuard(()).allows_host(host_of(url))


async def test_a_name_that_does_not_resolve_yet_is_allowed() -> None:
    assert await AddressGuard(()).allows_host("no-such-host.invalid")


@pytest.mark.parametrize("host", ["a..example.com", "a" * 64 + ".example.com", "a" * 300])
async def test_an_invalid_name_is_not_allowed(host: str) -> None:
    assert not await AddressGuard(()).allows_host(host)


async def test_names_whose_servers_do_not_answer_delay_no_other_resolution(monkeypatch: pytest.MonkeyPatch) -> None:
    original, are_answered = socket.getaddrinfo, threading.Event()
    resolving: list[str] = []

    def slow(host: Any, *more: Any, **options: Any) -> Any:
        if str(host).endswith(".mallory.example"):
            resolving.append(host)
            are_answered.wait(20)
        return original("127.0.0.1" if are_answered.is_set() else host, *more, **options)

    async def all_are_resolving() -> bool:
        return len(resolving) == len(checks)

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    guard = AddressGuard(())
    checks = [asyncio.create_task(guard.allows_host(f"{number}.mallory.example")) for number in range(30)]
    try:
        await eventually(all_are_resolving)
        # Like a request to the bank, this uses the threads of the event loop.
        assert await asyncio.get_running_loop().getaddrinfo("localhost", 80)
    finally:
        are_answered.set()
        await asyncio.gather(*checks)
