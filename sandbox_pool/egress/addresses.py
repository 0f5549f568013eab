"""Says which addresses are on the public internet, so that connections can be kept away from all others."""

import ipaddress

__all__ = ["is_public"]

WITH_IPV4 = tuple(map(ipaddress.IPv6Network, ("64:ff9b:1::/48", "::/96", "::ffff:0:0:0/96")))
"""IPv6 addresses that a network may translate to IPv4 ones (RFC 8215, RFC 4291, RFC 2765), also to private ones."""


def is_public(address: str) -> bool:
    """Whether the address is one of the public internet.

    IPv4 addresses inside IPv6 ones count as themselves, or are refused where no public service has such an address.
    """
    try:
        known = ipaddress.ip_address(address.partition("%")[0].strip("[]"))
    except ValueError:
        return False
    if isinstance(known, ipaddress.IPv6Address):
        inner = known.ipv4_mapped or known.sixtofour or (known.teredo or (None, None))[1]
        if inner is not None:
            return is_public(str(inner))
        if known in ipaddress.ip_network("64:ff9b::/96"):
            return is_public(str(ipaddress.IPv4Address(int(known) & 0xFFFFFFFF)))
        if known.is_site_local or any(known in network for network in WITH_IPV4):
            return False
    return known.is_global and not known.is_multicast
