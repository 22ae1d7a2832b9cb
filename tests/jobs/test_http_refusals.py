"""Nothing is sent to where a tenant may not reach, however the address is written: not one connection is made."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from jobs.http import HttpFailure, check_url, send
from tests.jobs.sending import Resolves, stand_in_for_dns
from tests.receivers import Receiver, redirect


@pytest.fixture(autouse=True)
def _nothing_allowed(settings: Any) -> None:
    """The strictest about addresses; any port from 1024 up, so that the listeners' own ports are no excuse."""
    settings.WEBHOOK_ALLOWED_NETWORKS = []
    settings.WEBHOOK_ALLOW_HTTP = True


@pytest.fixture(scope="module")
def listeners() -> Iterator[list[Receiver]]:
    """What must not be reached: the same port on 127.0.0.1 and on ::1."""
    with Receiver() as v4, Receiver(host="::1", port=v4.port) as v6:
        yield [v4, v6]


@pytest.fixture
def dns(monkeypatch: pytest.MonkeyPatch) -> Resolves:
    return stand_in_for_dns(monkeypatch)


LITERALS = [
    # plain
    "127.0.0.1", "127.1.2.3", "0.0.0.0", "10.0.0.1", "172.16.0.1", "192.168.0.1", "169.254.169.254", "100.64.0.1",
    "100.100.100.200", "168.63.129.16", "198.18.0.1", "192.0.0.1", "192.88.99.1", "224.0.0.1", "240.0.0.1",
    "255.255.255.255", "127.0.0.1.",
    # numbers in disguise
    "2130706433", "0x7f000001", "0X7F000001", "017700000001", "0177.0.0.1", "0x7f.0.0.1", "0x7f.1", "127.1",
    "127.0.1", "0", "0x0", "127.0.0.0x1", "127.000.000.001", "00000127.0.0.1", "2852039166", "0xa9fea9fe",
    "1.1.1.1.1", "256.256.256.256", "4294967297",
    # in other characters
    "１２７.０.０.１", "127。0。0。1", "①②⑦.0.0.1", "127．0．0．1", "ⓛⓞⓒⓐⓛⓗⓞⓢⓣ", "２１３０７０６４３３", "0ｘ7f000001",
    "%31%32%37.0.0.1", "127%2e0.0.1", "%6c%6f%63alhost", "loc\u00adalhost",
    # IPv6
    "[::1]", "[0:0:0:0:0:0:0:1]", "[::]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[0:0:0:0:0:ffff:7f00:1]",
    "[::ffff:169.254.169.254]", "[::127.0.0.1]", "[::7f00:1]", "[::ffff:0:127.0.0.1]", "[64:ff9b::127.0.0.1]",
    "[64:ff9b::a9fe:a9fe]", "[64:ff9b:1::7f00:1]", "[2002:7f00:1::]", "[2002:a9fe:a9fe::1]", "[2001::1]",
    "[2001:20::1]", "[fec0::1]", "[fe80::1]", "[fe80::1%25lo]", "[fe80::1%lo]", "[::1%25lo]", "[::1%lo]",
    "[fd00:ec2::254]", "[fc00::1]", "[5f00::1]", "[3fff::1]", "[2001:db8::1]", "[ff02::1]", "[100::1]", "[v1.x]",
    "[127.0.0.1]", "[localhost]", "[::1", "::1", "[]", "[::1].example.com", "[::1]x",
    # names
    "localhost", "LOCALHOST", "localhost.", "localhost..", "a.localhost", "localhost.localdomain", "db", "metadata",
    "metadata.google.internal", "metadata.google.internal.", "anything.internal", "printer.local", "x.home.arpa",
    # no hosts
    "", ".", "..", "a..example.com", ".example.com", "-a.example.com", "a-.example.com", "exa mple.com",
    "a" * 64 + ".example.com", "a." * 127 + "example.com", "ex*mple.com", "xn--a\u0300.example.com", "exam\x00ple.com",
]  # fmt: skip


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("host", LITERALS)
def test_no_way_to_write_a_refused_host_is_connected_to(
    listeners: list[Receiver], host: str, scheme: str
) -> None:
    url = f"{scheme}://{host}:{listeners[0].port}/hook"

    assert refusals_of(url) <= {"url_refused", "address_refused"}
    assert [listener.connections for listener in listeners] == [0, 0]


@pytest.mark.parametrize(
    "shape",
    [
        "http://user@127.0.0.1:{port}/",
        "http://user:secret@hooks.example.com:{port}/",
        "http://hooks.example.com:{port}@127.0.0.1:{port}/",
        "http://hooks.example.com@127.0.0.1:{port}/",
        "http://@127.0.0.1:{port}/",
        "http://127.0.0.1:{port}\\@hooks.example.com/",
        "http://hooks.example.com\\@127.0.0.1:{port}/",
        "http:\\\\127.0.0.1:{port}/",
        "http://127.0.0.1:{port}#@hooks.example.com/",
        "http://hooks.example.com:{port}/#part",
        "http://hooks.example.com:{port}/#",
        "http://hooks.example.com:{port}/a b",
        "http://hooks.example.com:{port}/a\tb",
        "http://hooks.example.com:{port}/a\r\nX-Injected: 1",
        "http://hooks.example.com:{port}/\r\n\r\nGET / HTTP/1.1",
        "http://hooks.example.com:{port}/a\x7f",
        "http://hooks.example.com:{port}/ä",
        "http://hooks.example.com:{port}/?q=\u2028",
        " http://127.0.0.1:{port}/",
        "ht\ntp://127.0.0.1:{port}/",
        "http://127.0.0.1\n:{port}/",
        "http:127.0.0.1:{port}/",
        "http:/127.0.0.1:{port}/",
        "//127.0.0.1:{port}/",
        "127.0.0.1:{port}",
        "http://:{port}/",
        "http:///127.0.0.1:{port}/",
        "http://hooks.example.com:0/",
        "http://hooks.example.com:65536/",
        "http://hooks.example.com:-1/",
        "http://hooks.example.com:８0/",
        "http://hooks.example.com:8e1/",
        "http://hooks.example.com:22/",
        "https://hooks.example.com:25/",
        "ftp://127.0.0.1:{port}/",
        "file:///etc/passwd",
        "gopher://127.0.0.1:{port}/",
        "unix:///var/run/docker.sock",
        "data:text/plain,x",
        "ws://127.0.0.1:{port}/",
        "",
        "http://hooks.example.com:{port}/" + "x" * 2_048,
    ],
)
def test_no_odd_url_is_sent_to(listeners: list[Receiver], dns: Resolves, shape: str) -> None:
    dns("hooks.example.com", ["8.8.8.8"])
    url = shape.replace("{port}", str(listeners[0].port))

    assert refusals_of(url) == {"url_refused"}
    assert [listener.connections for listener in listeners] == [0, 0]


@pytest.mark.parametrize(
    "addresses",
    [
        ["127.0.0.1"],
        ["::1"],
        ["10.0.0.1"],
        ["169.254.169.254"],
        ["168.63.129.16"],
        ["::ffff:127.0.0.1"],
        ["64:ff9b::7f00:1"],
        ["fec0::1"],
        ["8.8.8.8", "127.0.0.1"],
        ["127.0.0.1", "8.8.8.8"],
        ["2606:4700::1111", "8.8.8.8", "::1"],
        ["0.0.0.0"],
    ],
)
def test_a_name_that_resolves_inside_is_refused_if_only_in_part(
    listeners: list[Receiver], dns: Resolves, addresses: list[str]
) -> None:
    dns("hooks.example.com", addresses)

    assert refusals_of(f"http://hooks.example.com:{listeners[0].port}/") == {"address_refused"}
    assert [listener.connections for listener in listeners] == [0, 0]


def test_a_name_that_changes_its_address_after_the_check_is_refused(
    listeners: list[Receiver], dns: Resolves
) -> None:
    dns("hooks.example.com", ["8.8.8.8"], ["127.0.0.1"])
    url = f"http://hooks.example.com:{listeners[0].port}/"

    check_url(url)
    with pytest.raises(HttpFailure) as failure:
        send("POST", url)

    assert failure.value.code == "address_refused"
    assert [listener.connections for listener in listeners] == [0, 0]


def test_one_send_resolves_once_and_connects_to_what_it_checked(
    listeners: list[Receiver], dns: Resolves, settings: Any
) -> None:
    settings.WEBHOOK_ALLOWED_NETWORKS = ["127.0.0.2/32"]
    dns("hooks.example.com", ["127.0.0.2"], ["127.0.0.1"])

    with Receiver(host="127.0.0.2", port=listeners[0].port) as allowed:
        answer = send("POST", allowed.url_at("hooks.example.com"))

    assert (answer.status, answer.address) == (200, f"127.0.0.2:{allowed.port}")
    assert allowed.requests[0].headers["host"] == f"hooks.example.com:{allowed.port}"
    assert [listener.connections for listener in listeners] == [0, 0]


def test_a_redirect_is_an_answer_and_not_followed(listeners: list[Receiver], settings: Any) -> None:
    settings.WEBHOOK_ALLOWED_NETWORKS = ["127.0.0.2/32"]

    with Receiver(redirect(listeners[0].url), host="127.0.0.2") as receiver:
        answer = send("POST", receiver.url)

    assert (answer.status, dict(answer.headers)["Location"]) == (301, listeners[0].url)
    assert [listener.connections for listener in listeners] == [0, 0]


def test_the_environment_names_no_proxy(
    listeners: list[Receiver], settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.WEBHOOK_ALLOWED_NETWORKS = ["127.0.0.2/32"]
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, listeners[0].url)

    with Receiver(host="127.0.0.2") as receiver:
        assert send("POST", receiver.url).status == 200

    assert [listener.connections for listener in listeners] == [0, 0]


@pytest.mark.parametrize("name", ["localhost", "db", "hooks.internal", "hooks.local"])
def test_an_internal_name_is_sent_to_within_the_operators_networks(
    dns: Resolves, settings: Any, name: str
) -> None:
    settings.WEBHOOK_ALLOWED_NETWORKS = ["127.0.0.0/8"]
    dns(name, ["127.0.0.1"])

    with Receiver() as receiver:
        assert send("POST", receiver.url_at(name)).status == 200


@pytest.mark.parametrize("url", ["https://hooks.internal/", "https://db/", "https://hooks.example.com:22/"])
def test_what_only_the_operators_networks_may_be_asked_is_refused_outside_of_them(
    dns: Resolves, settings: Any, url: str
) -> None:
    settings.WEBHOOK_ALLOWED_NETWORKS = ["127.0.0.0/8"]
    for name in ("hooks.internal", "db", "hooks.example.com"):
        dns(name, ["8.8.8.8", "127.0.0.1"])

    assert refusals_of(url) == {"url_refused"}


@pytest.mark.parametrize("url", ["http://hooks.example.com/", "http://1.1.1.1/", "https://1.1.1.1:8000/"])
def test_plain_http_and_its_ports_are_refused_unless_allowed(settings: Any, dns: Resolves, url: str) -> None:
    dns("hooks.example.com", ["8.8.8.8"])
    check_url(url)

    settings.WEBHOOK_ALLOW_HTTP = False

    assert refusals_of(url) == {"url_refused"}


@pytest.mark.parametrize(
    "url",
    [
        "https://hooks.example.com/",
        "HTTPS://Hooks.Example.COM./a?b=c%20d",
        "https://hooks.example.com:443",
        "https://hooks.example.com:8443/",
        "https://hooks.example.com:/",
        "https://bücher.example/",
        "https://my_hooks.example.com/",
        "https://8.8.8.8/",
        "https://[2606:4700::1111]/",
    ],
)
def test_a_public_https_url_is_accepted(settings: Any, dns: Resolves, url: str) -> None:
    settings.WEBHOOK_ALLOW_HTTP = False
    for name in ("hooks.example.com", "xn--bcher-kva.example", "my_hooks.example.com"):
        dns(name, ["8.8.8.8", "2606:4700::1111"])

    check_url(url)


def test_a_name_that_cannot_be_looked_up_passes_the_check_but_is_not_sent_to(dns: Resolves) -> None:
    dns("hooks.example.com", [])

    check_url("https://hooks.example.com/")
    with pytest.raises(HttpFailure) as failure:
        send("POST", "https://hooks.example.com/")

    assert failure.value.code == "dns_failed"


def test_a_check_without_resolving_asks_no_name_server(dns: Resolves) -> None:
    dns("hooks.example.com", ["127.0.0.1"])

    check_url("https://hooks.example.com/", resolve=False)

    assert refusals_of("https://hooks.example.com/") == {"address_refused"}


def test_the_tenant_is_not_told_what_a_name_resolves_to(dns: Resolves) -> None:
    dns("hooks.example.com", ["10.20.30.40"])

    with pytest.raises(HttpFailure) as failure:
        check_url("https://hooks.example.com/")

    assert "10.20.30.40" not in failure.value.detail + str(failure.value)
    assert "10.20.30.40" in failure.value.internal


def refusals_of(url: str) -> set[str]:
    """The codes with which the URL is refused, when it is registered and when it is sent to."""
    with pytest.raises(HttpFailure) as at_registration:
        check_url(url)
    with pytest.raises(HttpFailure) as at_send:
        send("POST", url, content=b"{}")
    return {at_registration.value.code, at_send.value.code}
