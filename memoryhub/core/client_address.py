"""Where a request comes from: the address of the connection, or what trusted proxies in front say of it.

Own code rather than django-ipware, which is no dependency yet, knows no networks of IPv6, and takes a request where
the front has an environ; granian's own helper believes whatever text the header holds.
"""

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
MAX_PROXIES = 16
"""More proxies than anybody has in a row: what an X-Forwarded-For holds beyond is not read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustedProxies:
    """The proxies whose X-Forwarded-For is believed: as many as `count`, or those in `networks`. None by default."""

    count: int = 0
    networks: tuple[Network, ...] = ()

    @classmethod
    def parse(cls, text: str) -> "TrustedProxies":
        """A number, or addresses and networks with commas or spaces between them. Raises ValueError."""
        words = text.replace(",", " ").split()
        if len(words) == 1 and words[0].isascii() and words[0].isdecimal():
            if len(words[0]) > 2 or int(words[0]) > MAX_PROXIES:
                raise ValueError(f"is a number of proxies above {MAX_PROXIES}")
            return cls(count=int(words[0]))
        return cls(networks=tuple(map(_network, words)))

    def client_address(self, environ: Mapping[str, Any]) -> str | None:
        """The address of the client behind the outermost trusted proxy; None for a socket that has no address.

        X-Forwarded-For is read from the right, where each proxy adds whom it was asked by: what is left of the
        address that the outermost trusted proxy added could have been written by anybody. Where it holds no address,
        the request comes from the last proxy that is known.
        """
        sender = _parsed(environ.get("REMOTE_ADDR") or "")
        forwarded = str(environ.get("HTTP_X_FORWARDED_FOR", "")).rsplit(",", MAX_PROXIES)[-MAX_PROXIES:]
        for hop, text in enumerate(reversed(forwarded)):
            if not self._trusts(sender, hop) or (before := _parsed(text)) is None:
                break
            sender = before
        return str(sender) if sender else None

    def _trusts(self, sender: Address | None, hop: int) -> bool:
        """Whether the proxy that is `hop` hops before the hub, at `sender`, is believed."""
        # A unix socket has no address; a client that may connect to it is counted, and in no network.
        return hop < self.count or (sender is not None and any(sender in network for network in self.networks))


def _network(text: str) -> Network:
    try:
        return ipaddress.ip_network(text)
    except ValueError:
        raise ValueError(
            "must be a number of proxies, or addresses and networks such as 10.0.0.5 or 10.0.0.0/8"
        ) from None


def _parsed(text: str) -> Address | None:
    """The address in a text, as IPv4 where it is one in IPv6's clothes, without a zone, brackets or port."""
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
