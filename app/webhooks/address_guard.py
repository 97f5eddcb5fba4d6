"""Restricts webhooks to public addresses, so that callers cannot reach internal services through the broker.

Server-side request forgery is prevented when the socket is created: this sees the address that is really connected to,
whatever a name resolved to and however the address was written.
"""

import asyncio
import socket
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network
from urllib.parse import urlsplit

from aiohttp import AddrInfoType

from app.webhooks.name_resolution import WebhookNameResolver

IPAddress = IPv4Address | IPv6Address
_BLOCKED_NETWORKS = tuple(
    ip_network(network)
    for network in (
        "::/96",  # IPv4-compatible (RFC 4291 section 2.5.5.1), which may stand for any IPv4 address
        "64:ff9b:1::/48",  # a network's own translation to IPv4 (RFC 8215)
        "fec0::/10",  # site-local (RFC 3879)
        "::ffff:0:0:0/96",  # IPv4-translated (RFC 2765)
        "3fff::/20",  # documentation (RFC 9637)
        "192.0.0.0/24",  # protocol assignments (RFC 6890); a cloud provider once served its metadata there
        "168.63.129.16/32",  # a public address that leads to the host of a virtual machine at Azure
    )
)
# All public IPv6 addresses that have been allocated so far (RFC 4291 section 2.4, IANA).
_PUBLIC_IPV6 = IPv6Network("2000::/3")
_NAT64 = IPv6Network("64:ff9b::/96")  # RFC 6052 section 2.1
_RESOLUTION_TIMEOUT = 2.0  # seconds


def host_of(url: str) -> str:
    """Return the host of a URL, an IPv6 address without its brackets."""
    return urlsplit(url).hostname or ""


class AddressNotAllowed(OSError):
    """The address is not public, and not in a network that the settings allow."""

    def __init__(self) -> None:
        super().__init__("the address is not public")


class AddressGuard:
    """Allows public addresses, and those in the `allowed` networks."""

    def __init__(self, allowed: tuple[str, ...]) -> None:
        """`allowed`: networks such as `10.0.0.0/8`."""
        self._allowed = [ip_network(network) for network in allowed]
        self.resolver = WebhookNameResolver()

    def open_socket(self, address: AddrInfoType) -> socket.socket:
        """Create the socket for one connection. Raises AddressNotAllowed."""
        family, kind, protocol, _, destination = address
        if not self._is_allowed(str(destination[0])):
            raise AddressNotAllowed
        return socket.socket(family, kind, protocol)

    async def allows_host(self, host: str) -> bool:
        """Return whether `host` currently resolves to an allowed address.

        A name that cannot be resolved now is allowed: it may be later, and its address is checked then. Text that
        cannot be a host name is not allowed.
        """
        try:
            async with asyncio.timeout(_RESOLUTION_TIMEOUT):
                results = await self.resolver.resolve(host)
        except UnicodeError:
            return False
        except OSError:
            return True
        return any(self._is_allowed(result["host"]) for result in results)

    def _is_allowed(self, text: str) -> bool:
        try:
            address = _effective_address(ip_address(text.partition("%")[0]))
        except ValueError:
            return False
        if any(address in network for network in self._allowed):
            return True
        if any(address in network for network in _BLOCKED_NETWORKS):
            return False
        if isinstance(address, IPv6Address) and address not in _PUBLIC_IPV6:
            return False
        return address.is_global and not address.is_multicast


def _effective_address(address: IPAddress) -> IPAddress:
    """Return the IPv4 address that is embedded in an IPv6 address, if any (RFC 4291, 3056, 6052)."""
    if isinstance(address, IPv4Address):
        return address
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFF_FFFF)
    return address.ipv4_mapped or address.sixtofour or address
