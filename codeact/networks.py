"""Whether an address belongs to one of several networks."""

import ipaddress
from collections.abc import Sequence

__all__ = ["Network", "is_in"]

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def is_in(address: str, networks: Sequence[Network]) -> bool:
    """False also for what is no address. An IPv4 address that is written as an IPv6 one counts as itself."""
    try:
        known = ipaddress.ip_address(address)
    except ValueError:
        return False
    mapped = getattr(known, "ipv4_mapped", None) or known
    return any(mapped in network for network in networks)
