"""The client address of a request: that of the connection, or the one that trusted proxies report.

django-ipware is not used: it would be a new dependency, knows no IPv6 networks, and takes a Django request where
`memoryhub.front` has an environ. granian's own helper trusts any text in the header.
"""

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
MAX_PROXIES = 16
"""More proxies than any real chain has. Further entries of X-Forwarded-For are ignored."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustedProxies:
    """The proxies whose X-Forwarded-For is trusted: the nearest `count`, or those in `networks`. None by default."""

    count: int = 0
    networks: tuple[Network, ...] = ()

    @classmethod
    def parse(cls, text: str) -> "TrustedProxies":
        """Parse a number of proxies, or addresses and networks separated by commas or spaces. Raises ValueError."""
        items = text.replace(",", " ").split()
        if len(items) == 1 and items[0].isascii() and items[0].isdecimal():
            if len(items[0]) > 2 or int(items[0]) > MAX_PROXIES:
                raise ValueError(f"is a number of proxies above {MAX_PROXIES}")
            return cls(count=int(items[0]))
        return cls(networks=tuple(map(_parse_network, items)))

    def resolve_client_address(self, environ: Mapping[str, Any]) -> str | None:
        """Return the address of the client behind the outermost trusted proxy; None if the socket has no address.

        X-Forwarded-For is read from the right, because each proxy appends the address of its client. Entries to the
        left of the one that the outermost trusted proxy appended could be forged by anybody. If an entry is not an
        address, the request counts as coming from the last known proxy.
        """
        sender = _parse_address(environ.get("REMOTE_ADDR") or "")
        forwarded = str(environ.get("HTTP_X_FORWARDED_FOR", "")).rsplit(",", MAX_PROXIES)[-MAX_PROXIES:]
        for hop, text in enumerate(reversed(forwarded)):
            if not self._trusts(sender, hop) or (previous_hop := _parse_address(text)) is None:
                break
            sender = previous_hop
        return str(sender) if sender else None

    def _trusts(self, sender: Address | None, hop: int) -> bool:
        """Whether the proxy at `sender`, `hop` hops before the hub, is trusted."""
        # A unix socket has no address. A client that may connect to it counts as a hop, but is in no network.
        return hop < self.count or (sender is not None and any(sender in network for network in self.networks))


def is_direct_from_loopback(environ: Mapping[str, Any]) -> bool:
    """Whether the sender of the request is on this machine and is no proxy that passes on the request of another one.

    A request with any header of a proxy counts as one from a proxy: a sender gains nothing by adding such a header.
    """
    sender = _parse_address(environ.get("REMOTE_ADDR") or "")
    return bool(sender and sender.is_loopback) and not any(f"HTTP_{name}" in environ for name in _PROXY_HEADERS)


_PROXY_HEADERS = ("FORWARDED", "VIA", "X_FORWARDED_FOR", "X_FORWARDED_HOST", "X_REAL_IP")


def _parse_network(text: str) -> Network:
    try:
        return ipaddress.ip_network(text)
    except ValueError:
        raise ValueError(
            "must be a number of proxies, or addresses and networks such as 10.0.0.5 or 10.0.0.0/8"
        ) from None


def _parse_address(text: str) -> Address | None:
    """Parse an address, ignoring zone, brackets and port; IPv4-mapped IPv6 becomes IPv4. None if it is invalid."""
    text = text.strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address
