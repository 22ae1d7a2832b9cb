"""Which IP addresses the platform may connect to on a tenant's behalf: public ones, and the operator's own."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

# Written out, for `is_global` and its kin change with Python's version. The IANA special-purpose registries
# (RFC 6890 and its updates), plus what reaches inside although no registry says so.
_REFUSED_V4 = [
    "0.0.0.0/8",  # this network
    "10.0.0.0/8",  # private
    "100.64.0.0/10",  # shared by carriers; 100.100.100.200 is a metadata server
    "127.0.0.0/8",  # loopback
    "168.63.129.16/32",  # Azure's platform address, though the block is public
    "169.254.0.0/16",  # link-local; 169.254.169.254 is the metadata server
    "172.16.0.0/12",  # private
    "192.0.0.0/24",  # protocol assignments
    "192.0.2.0/24",  # documentation
    "192.31.196.0/24",  # AS112
    "192.52.193.0/24",  # automatic multicast tunnelling
    "192.88.99.0/24",  # 6to4 relays
    "192.168.0.0/16",  # private
    "192.175.48.0/24",  # AS112
    "198.18.0.0/15",  # benchmarking
    "198.51.100.0/24",  # documentation
    "203.0.113.0/24",  # documentation
    "224.0.0.0/4",  # multicast
    "240.0.0.0/4",  # reserved, broadcast
]
_REFUSED_V6 = [
    "::/96",  # unspecified, loopback, IPv4-compatible
    "::ffff:0:0/96",  # IPv4-mapped; judged as IPv4 before it gets here
    "::ffff:0:0:0/96",  # IPv4-translated
    "64:ff9b::/96",  # NAT64
    "64:ff9b:1::/48",  # NAT64, local use
    "100::/64",  # discard
    "100:0:0:1::/64",  # dummy
    "2001::/23",  # protocol assignments: Teredo, ORCHID, benchmarking and others
    "2001::/32",  # Teredo
    "2001:10::/28",  # ORCHID
    "2001:20::/28",  # ORCHIDv2
    "2001:db8::/32",  # documentation
    "2002::/16",  # 6to4
    "2620:4f:8000::/48",  # AS112
    "3ffe::/16",  # 6bone, returned
    "3fff::/20",  # documentation
    "5f00::/16",  # SRv6
    "fc00::/7",  # unique local; fd00:ec2::254 is a metadata server
    "fe80::/10",  # link-local
    "fec0::/10",  # site-local
    "ff00::/8",  # multicast
]
_REFUSED: dict[int, list[Network]] = {
    4: [ip_network(block) for block in _REFUSED_V4],
    6: [ip_network(block) for block in _REFUSED_V6],
}


def is_public(address: Address) -> bool:
    """Whether this is an address of the open internet; an IPv4-mapped one is judged as its IPv4."""
    if _has_scope(address):
        return False
    address = _unmapped(address)
    return address.is_global and not (
        address.is_multicast
        or address.is_reserved
        or address.is_unspecified
        or address.is_loopback
        or address.is_link_local
        or address.is_private
        or _is_within(address, _REFUSED[address.version])
    )


def is_within(address: Address, networks: Sequence[Network]) -> bool:
    """Whether one of the networks holds the address; an IPv4 network also holds the mapped forms."""
    return not _has_scope(address) and _is_within(_unmapped(address), networks)


def is_allowed(address: Address, networks: Sequence[Network]) -> bool:
    """Whether the address is public or inside one of the operator's networks."""
    return is_public(address) or is_within(address, networks)


def _is_within(address: Address, networks: Sequence[Network]) -> bool:
    return any(address.version == network.version and address in network for network in networks)


def _unmapped(address: Address) -> Address:
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


def _has_scope(address: Address) -> bool:
    """`fe80::1%eth0` names an interface of this machine, which no address from outside has a right to."""
    return isinstance(address, IPv6Address) and address.scope_id is not None
