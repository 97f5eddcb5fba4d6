"""Which addresses a webhook may lead to: a caller must not reach through the broker what it cannot reach itself.

Server-side request forgery is refused where it happens, when the socket is made: whatever a name resolved to, and
however an address was spelled, this is what would be connected to.
"""

import asyncio
import socket
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network
from urllib.parse import urlsplit

from aiohttp import AddrInfoType

from app.webhooks.name_resolution import WebhookNameResolver

IPAddress = IPv4Address | IPv6Address
_NOT_PUBLIC = tuple(
    ip_network(network)
    for network in (
        "::/96",  # IPv4-compatible (RFC 4291 section 2.5.5.1), which may stand for any IPv4 address
        "64:ff9b:1::/48",  # a network's own translation to IPv4 (RFC 8215)
        "fec0::/10",  # site-local (RFC 3879)
        "::ffff:0:0:0/96",  # IPv4-translated (RFC 2765)
        "3fff::/20",  # documentation (RFC 9637)
        "192.0.0.0/24",  # protocol assignments (RFC 6890), where a cloud once had its metadata
        "168.63.129.16/32",  # a public address that leads to the host of a virtual machine at Azure
    )
)
# All that is given out for the public so far (RFC 4291 section 2.4, IANA).
_PUBLIC_IPV6 = IPv6Network("2000::/3")
_NAT64 = IPv6Network("64:ff9b::/96")  # RFC 6052 section 2.1
_RESOLVING = 2.0


def host_of(url: str) -> str:
    """Return the host of an address, a bracketed one without its brackets."""
    return urlsplit(url).hostname or ""


class AddressRefused(OSError):
    """The address is not public, and not in a network that the settings allow."""

    def __init__(self) -> None:
        super().__init__("the address is not public")


class AddressGuard:
    """Lets public addresses pass, and those of `allowed` networks."""

    def __init__(self, allowed: tuple[str, ...]) -> None:
        """`allowed`: networks such as `10.0.0.0/8`."""
        self._allowed = [ip_network(network) for network in allowed]
        self.names = WebhookNameResolver()

    def open_socket(self, address: AddrInfoType) -> socket.socket:
        """Make the socket for one connection. Raises AddressRefused."""
        family, kind, protocol, _, where = address
        if not self._permits(str(where[0])):
            raise AddressRefused
        return socket.socket(family, kind, protocol)

    async def permits_host(self, host: str) -> bool:
        """Tell whether something that `host` stands for at the moment may be connected to.

        What cannot be resolved now may be later, and is looked at again then; not so what cannot be a name at all.
        """
        try:
            async with asyncio.timeout(_RESOLVING):
                found = await self.names.resolve(host)
        except UnicodeError:
            return False
        except OSError:
            return True
        return any(self._permits(one["host"]) for one in found)

    def _permits(self, text: str) -> bool:
        try:
            address = _meant(ip_address(text.partition("%")[0]))
        except ValueError:
            return False
        if any(address in network for network in self._allowed):
            return True
        if any(address in network for network in _NOT_PUBLIC):
            return False
        if isinstance(address, IPv6Address) and address not in _PUBLIC_IPV6:
            return False
        return address.is_global and not address.is_multicast


def _meant(address: IPAddress) -> IPAddress:
    """Return the IPv4 address that an IPv6 address stands for, where it does (RFC 4291, 3056, 6052)."""
    if isinstance(address, IPv4Address):
        return address
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFF_FFFF)
    return address.ipv4_mapped or address.sixtofour or address
