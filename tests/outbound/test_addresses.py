"""Addresses are judged, never spellings: the public internet may be called, and what operators allow."""

import socket
from ipaddress import ip_address, ip_network
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured

from bedrock_chat import environment
from bedrock_chat.outbound import connecting
from bedrock_chat.outbound.addresses import Allowance, is_public
from bedrock_chat.outbound.faults import NotAllowed, NotResolved, OutboundFault
from bedrock_chat.outbound.targets import LONGEST_URL, parse
from tests.outbound.conftest import Post
from tests.outbound.servers import Names, Server, plain

NOT_PUBLIC = """
0.0.0.0 0.1.2.3 10.0.0.1 10.255.255.255 100.64.0.1 100.127.255.254 127.0.0.1 127.255.255.254 169.254.0.1
169.254.169.254 169.254.170.2 172.16.0.1 172.31.255.255 192.0.0.1 192.0.0.192 192.0.2.1 192.88.99.1 192.168.0.1
198.18.0.1 198.19.255.255 198.51.100.1 203.0.113.1 224.0.0.1 239.255.255.255 240.0.0.1 255.255.255.255 :: ::1
::7f00:1 ::ffff:127.0.0.1 ::ffff:10.0.0.1 ::ffff:169.254.169.254 64:ff9b::7f00:1 64:ff9b::808:808 64:ff9b:1::1
100::1 2001::1 2001:0:4136:e378:8000:63bf:3fff:fdd2 2001:10::1 2001:20::1 2001:db8::1 2002:7f00:1::
2002:808:808::1 3fff::1 4000::1 5f00::1 fc00::1 fd00:ec2::254 fd12:3456::1 fe80::1 fec0::1 ff02::1 ff0e::1
""".split()  # noqa: SIM905  a list of lines is easier to read
PUBLIC = """
1.1.1.1 8.8.8.8 100.63.255.255 100.128.0.1 126.255.255.255 128.0.0.1 169.253.255.255 172.15.255.255 172.32.0.1
192.0.1.1 192.88.98.1 192.167.255.255 198.17.255.255 198.20.0.1 223.255.255.255 ::ffff:8.8.8.8 2001:200::1
2001:4860:4860::8888 2606:4700::1111 2a00:1450::1 3ffe::1
""".split()  # noqa: SIM905  a list of lines is easier to read


@pytest.mark.parametrize("address", NOT_PUBLIC)
def test_an_address_that_is_not_public(address: str) -> None:
    assert not is_public(ip_address(address))
    assert not Allowance().permits("name", 443, [ip_address("8.8.8.8"), ip_address(address)])


@pytest.mark.parametrize("address", PUBLIC)
def test_an_address_that_is_public(address: str) -> None:
    assert is_public(ip_address(address))


SPELLINGS = """
http://127.0.0.1/ http://127.1/ http://127.0.1/ http://2130706433/ http://0x7f000001/ http://0x7f.0x0.0x0.0x1/
http://0177.0.0.1/ http://0177.0.0.0x1/ http://017700000001/ http://127.0.0.1.:80/ http://localhost/
http://LOCALHOST:8080/ http://①②⑦.⓪.⓪.①/ http://１２７.０.０.１/ http://127。0。0。1/ http://0/ http://0.0.0.0/
http://[::]/ http://[::1]/ http://[0:0:0:0:0:0:0:1]/ http://[0000::0001]:443/ http://[::ffff:127.0.0.1]/
http://[::ffff:7f00:1]/ http://[::127.0.0.1]/ http://[64:ff9b::127.0.0.1]/ http://[2002:7f00:1::]/
http://[fe80::1]/ http://[fe80::1%25lo]/ http://[fe80::1%lo]/ http://[fd00:ec2::254]/latest/
http://169.254.169.254/latest/meta-data/ http://2852039166/ http://0xa9fea9fe/ http://0251.0376.0251.0376/
http://169.254.43518/ http://[::ffff:a9fe:a9fe]/ http://192.0.0.192/ http://10.0.0.1/ http://167772161/
http://192.168.1/ https://172.16.0.1/ http://100.100.100.200/ http://224.0.0.1/ http://255.255.255.255/
""".split()  # noqa: SIM905  a list of lines is easier to read
ILL_FORMED = [
    "http://alice@8.8.8.8/",
    "http://alice:secret@8.8.8.8/",
    "http://@8.8.8.8/",
    "http://8.8.8.8@127.0.0.1/",
    "http://127.0.0.1\\@8.8.8.8/",
    "http://8.8.8.8\\@127.0.0.1/",
    "http:8.8.8.8",
    "http:///8.8.8.8/",
    "//8.8.8.8/",
    "8.8.8.8",
    "",
    "ftp://8.8.8.8/",
    "file:///etc/passwd",
    "gopher://8.8.8.8:25/_x",
    "javascript:alert(1)",
    "http://8.8.8.8:0/",
    "http://8.8.8.8:65536/",
    "http://8.8.8.8:http/",
    "http://8.8.8.8 /",
    "http://8.8.8.8/\r\nHost: 127.0.0.1",
    "http://exam\tple.com/",
    "http://%31%32%37.0.0.1/",
    "http://exa%00mple.com/",
    "http://[8.8.8.8]/",
    "http://[::1/",
    "http://-example.com/",
    "http://*.example.com/",
    f"http://{'a' * 64}.example.com/",
    f"http://{'a.' * 130}com/",
    f"http://8.8.8.8/{'a' * LONGEST_URL}",
    "http://xn--\udc80.com/",
    "http://8.8.8.8/\ud800",
    "http://8.8.8.8/?\udfff",
]


@pytest.mark.parametrize("url", [*SPELLINGS, *ILL_FORMED])
def test_a_spelling_of_an_address_that_is_not_allowed(post: Post, monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setattr(connecting, "_connect", lambda *_: pytest.fail("it was called"))
    with pytest.raises(OutboundFault) as refused:
        post(url)
    # A resolver that does not read such a number as an address knows no such name.
    assert isinstance(refused.value, NotAllowed | NotResolved), refused.value


def test_most_spellings_are_refused_as_what_they_mean(post: Post) -> None:
    """Also on machines whose resolver does not read every one of them."""
    refused = 0
    for url in SPELLINGS:
        with pytest.raises(OutboundFault) as fault:
            post(url)
        refused += isinstance(fault.value, NotAllowed)
    assert refused >= len(SPELLINGS) - 8


def test_a_refusal_has_no_address_in_it(post: Post) -> None:
    with pytest.raises(NotAllowed) as refused:
        post("http://10.1.2.3/secret-path?key=secret")
    assert refused.value.reason == str(refused.value) == "This address is not allowed."


@pytest.mark.parametrize(
    ("url", "host", "port", "resource"),
    [
        ("HTTPS://Example.COM", "example.com", 443, "/"),
        ("http://bücher.example:8080/ä?q=ö#frag", "xn--bcher-kva.example", 8080, "/%C3%A4?q=%C3%B6"),
        ("https://a_b.example/%2F?x=%20", "a_b.example", 443, "/%2F?x=%20"),
        ("http://[2001:4860:4860:0:0:0:0:8888]", "2001:4860:4860::8888", 80, "/"),
        ('https://e.example/"<>', "e.example", 443, "/%22%3C%3E"),
    ],
)
def test_an_address_is_read_once(url: str, host: str, port: int, resource: str) -> None:
    target = parse(url)
    assert (target.host, target.port, target.resource) == (host, port, resource)
    assert resource == "/" or resource not in repr(target)


# ---- Names ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("private", ["127.0.0.1", "::1", "10.0.0.1", "64:ff9b::7f00:1", "fd00:ec2::254"])
@pytest.mark.parametrize("first", [True, False])
def test_one_private_address_among_others_is_enough(names: Names, post: Post, private: str, first: bool) -> None:
    addresses = ["8.8.8.8", "2001:4860:4860::8888"]
    names["mixed.test"] = [[private, *addresses] if first else [*addresses, private]]
    with pytest.raises(NotAllowed):
        post("https://mixed.test/")


@pytest.mark.usefixtures("local")
def test_a_name_that_changes_is_called_where_it_was_judged(names: Names, post: Post) -> None:
    with Server(plain()) as judged, Server(plain(), host="127.0.0.2", port=judged.port) as other:
        names["changing.test"] = [["127.0.0.1"], ["127.0.0.2"]]
        assert post(f"http://changing.test:{judged.port}/").status == 200
        assert (len(judged.requests), len(other.requests)) == (1, 0)
        assert names.lookups == ["changing.test"]
        assert f"\r\nHost: changing.test:{judged.port}\r\n" in judged.requests[0]


def test_a_name_that_changes_to_a_private_address_is_judged_anew_at_every_call(
    names: Names, post: Post, settings: Any
) -> None:
    with Server(plain()) as server:
        settings.OUTBOUND_ALLOW = ((ip_network("127.0.0.1/32"),), frozenset())
        names["changing.test"] = [["127.0.0.1"], ["127.0.0.2"]]
        assert post(f"http://changing.test:{server.port}/").status == 200
        with pytest.raises(NotAllowed):
            post(f"http://changing.test:{server.port}/")


def test_a_name_that_leads_nowhere(names: Names, post: Post) -> None:
    with pytest.raises(NotResolved):
        post("https://nowhere.test/")


@pytest.mark.usefixtures("local")
def test_an_address_that_does_not_answer_is_not_the_last_one(names: Names, post: Post) -> None:
    with Server(plain()) as server:
        names["two.test"] = [["127.0.0.9", "::1", "127.0.0.1"]]
        assert post(f"http://two.test:{server.port}/").status == 200


@pytest.mark.skipif(not socket.has_ipv6, reason="no IPv6 here")
@pytest.mark.usefixtures("local")
def test_an_address_of_ipv6_is_called(post: Post) -> None:
    with Server(plain(), host="::1") as server:
        assert post(server.url).status == 200
        assert f"\r\nHost: [::1]:{server.port}\r\n" in server.requests[0]


# ---- What operators allow -------------------------------------------------------------------------------------------


def test_operators_allow_networks_and_hosts(names: Names, post: Post, settings: Any) -> None:
    names["wiki.test"] = [["127.0.0.1"]]
    with Server(plain()) as server:
        for network, allowed in (("127.0.0.0/8", True), ("127.0.0.1/32", True), ("10.0.0.0/8", False), ("::/0", False)):
            settings.OUTBOUND_ALLOW = ((ip_network(network),), frozenset())
            assert _is_called(post, server.url) is allowed, network
        for host, port, allowed in (
            ("wiki.test", server.port, True),
            ("wiki.test", server.port + 1, False),
            ("127.0.0.1", server.port, False),
            ("other.test", server.port, False),
        ):
            settings.OUTBOUND_ALLOW = ((), frozenset({(host, port)}))
            assert _is_called(post, f"http://WIKI.test:{server.port}/") is allowed, (host, port)


def test_a_network_of_ipv4_is_allowed_for_its_addresses_in_ipv6_too() -> None:
    allowance = Allowance((ip_network("10.0.0.0/8"),))
    assert allowance.permits("name", 80, [ip_address("::ffff:10.0.0.1"), ip_address("8.8.8.8")])
    assert not allowance.encloses("name", 80, [ip_address("10.0.0.1"), ip_address("8.8.8.8")])
    assert not allowance.permits("name", 80, [])


def _is_called(post: Post, url: str) -> bool:
    try:
        return post(url).status == 200
    except NotAllowed:
        return False


def test_what_operators_allow_is_read_strictly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OUTBOUND_ALLOW", "10.0.0.0/8, 192.168.1.5, Wiki.example:8080,[FD00::1]:443, 10.1.1.1:80")
    networks, hosts = environment.networks_and_hosts("OUTBOUND_ALLOW")
    assert [str(network) for network in networks] == ["10.0.0.0/8", "192.168.1.5/32"]
    assert hosts == {("wiki.example", 8080), ("fd00::1", 443), ("10.1.1.1", 80)}


@pytest.mark.parametrize("word", ["wiki.example", "10.0.0.1/8", "wiki:0", "wiki:99999", "a@b:80", "http://a:80", ":80"])
def test_what_is_neither_a_network_nor_a_host_with_a_port_stops_the_start(
    monkeypatch: pytest.MonkeyPatch, word: str
) -> None:
    monkeypatch.setenv("OUTBOUND_ALLOW", word)
    with pytest.raises(ImproperlyConfigured, match="OUTBOUND_ALLOW"):
        environment.networks_and_hosts("OUTBOUND_ALLOW")
