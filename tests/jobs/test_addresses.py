"""Only public addresses, and those in the operator's networks, may be connected to."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

import pytest

from jobs.addresses import is_allowed, is_public, is_within

NOT_PUBLIC = {
    "0.0.0.0": "this network",
    "0.1.2.3": "this network",
    "10.1.2.3": "private",
    "100.64.0.1": "carrier-grade NAT",
    "100.100.100.200": "metadata inside carrier-grade NAT",
    "100.127.255.255": "carrier-grade NAT",
    "127.0.0.1": "loopback",
    "127.255.255.254": "loopback",
    "168.63.129.16": "Azure, in public space",
    "169.254.169.254": "metadata",
    "172.16.0.1": "private",
    "172.31.255.255": "private",
    "192.0.0.8": "protocol assignments",
    "192.0.0.9": "protocol assignments, called global by some Pythons",
    "192.0.2.1": "documentation",
    "192.31.196.1": "AS112",
    "192.52.193.1": "multicast tunnelling",
    "192.88.99.1": "6to4 relay",
    "192.168.1.1": "private",
    "192.175.48.1": "AS112",
    "198.18.0.1": "benchmarking",
    "198.19.255.255": "benchmarking",
    "198.51.100.1": "documentation",
    "203.0.113.1": "documentation",
    "224.0.0.1": "multicast",
    "239.255.255.255": "multicast",
    "240.0.0.1": "reserved",
    "255.255.255.255": "broadcast",
    "::": "unspecified",
    "::1": "loopback",
    "::7f00:1": "IPv4-compatible",
    "::127.0.0.1": "IPv4-compatible",
    "::8.8.8.8": "IPv4-compatible",
    "::ffff:127.0.0.1": "mapped loopback",
    "::ffff:169.254.169.254": "mapped metadata",
    "::ffff:168.63.129.16": "mapped Azure",
    "::ffff:0:7f00:1": "IPv4-translated",
    "64:ff9b::7f00:1": "NAT64",
    "64:ff9b::808:808": "NAT64 of a public address",
    "64:ff9b:1::1": "NAT64, local",
    "100::1": "discard",
    "100:0:0:1::1": "dummy",
    "2001::1": "Teredo",
    "2001:0:ce49:7601::1": "Teredo",
    "2001:1::1": "protocol assignments, called global by some Pythons",
    "2001:10::1": "ORCHID",
    "2001:20::1": "ORCHIDv2",
    "2001:2f:ffff::1": "ORCHIDv2",
    "2001:db8::1": "documentation",
    "2002:7f00:1::1": "6to4 of loopback",
    "2002:808:808::1": "6to4",
    "2620:4f:8000::1": "AS112",
    "3ffe::1": "6bone",
    "3fff::1": "documentation",
    "3fff:fff::1": "documentation",
    "5f00::1": "SRv6",
    "fc00::1": "unique local",
    "fd00:ec2::254": "metadata",
    "fe80::1": "link-local",
    "fe80::1%eth0": "link-local with a scope",
    "2606:4700::1%eth0": "public with a scope",
    "fec0::1": "site-local",
    "fec0:0:0:ffff::1": "site-local",
    "ff02::1": "multicast",
}
PUBLIC = [
    "1.1.1.1",
    "8.8.8.8",
    "93.184.215.14",
    "100.128.0.1",
    "168.63.129.17",
    "172.32.0.1",
    "223.255.255.255",
]
PUBLIC += ["::ffff:8.8.8.8", "2001:4860:4860::8888", "2606:4700::1111", "2a00:1450:4001::1", "2003::1"]


@pytest.mark.parametrize(("text", "why"), NOT_PUBLIC.items())
def test_what_is_not_on_the_open_internet_is_refused(text: str, why: str) -> None:
    assert not is_public(ip_address(text)), why
    assert not is_allowed(ip_address(text), [])


@pytest.mark.parametrize("text", PUBLIC)
def test_a_public_address_is_allowed(text: str) -> None:
    assert is_public(ip_address(text))
    assert is_allowed(ip_address(text), [])


@pytest.mark.parametrize(
    ("text", "block"),
    [
        ("10.1.2.3", "10.0.0.0/8"),
        ("::ffff:10.1.2.3", "10.0.0.0/8"),
        ("::1", "::1/128"),
        ("fd00::1", "fc00::/7"),
        ("127.0.0.1", "127.0.0.1/32"),
    ],
)
def test_the_operators_networks_are_allowed(text: str, block: str) -> None:
    networks = [ip_network("192.168.7.0/24"), ip_network(block)]

    assert is_allowed(ip_address(text), networks)
    assert is_within(ip_address(text), networks)
    assert not is_public(ip_address(text))


@pytest.mark.parametrize(
    ("text", "block"),
    [
        ("10.1.2.3", "192.168.0.0/16"),
        ("::1", "127.0.0.0/8"),
        ("64:ff9b::7f00:1", "127.0.0.0/8"),
        ("2002:7f00:1::", "127.0.0.0/8"),
        ("fe80::1%eth0", "fe80::/10"),
    ],
)
def test_the_operators_networks_allow_nothing_else(text: str, block: str) -> None:
    assert not is_allowed(ip_address(text), [ip_network(block)])


def test_a_public_address_is_within_no_network_that_does_not_name_it() -> None:
    assert not is_within(ip_address("8.8.8.8"), [ip_network("10.0.0.0/8")])
