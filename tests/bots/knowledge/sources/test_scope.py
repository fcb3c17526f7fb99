"""Which addresses are one, which a seed covers, and what the filters let pass. Without network."""

from urllib.parse import urlsplit

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bedrock_chat.outbound.faults import NotAllowed
from bots.knowledge.sources.locations import SourceFault
from bots.knowledge.sources.scope import PatternRefused, Seed, Web, is_endless, normalised, patterns

# ---- One spelling ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "normal"),
    [
        ("HTTPS://Example.COM:443", "https://example.com/"),
        ("http://example.com:80/a#part", "http://example.com/a"),
        ("http://example.com:8080/a", "http://example.com:8080/a"),
        ("https://e.example/a/./b/../c/", "https://e.example/a/c/"),
        ("https://e.example/../../a/..", "https://e.example/"),
        ("https://e.example/a/%2e%2e/b", "https://e.example/b"),
        ("https://e.example/%7Ebob/%c3%a4?q=%41", "https://e.example/~bob/%C3%A4?q=A"),
        ("https://e.example/ä", "https://e.example/%C3%A4"),
        ("https://e.example/100%?a=%%34%31", "https://e.example/100%25?a=%2541"),
        ("https://e.example/a//b", "https://e.example/a//b"),
        ("https://e.example/?b=2&utm_source=x&a=1&UTM_Medium=y", "https://e.example/?b=2&a=1"),
        ("https://e.example/?utm_source=x", "https://e.example/"),
        ("https://e.example/?", "https://e.example/"),
        ("https://bücher.example/", "https://xn--bcher-kva.example/"),
        ("http://[2001:4860:4860:0::8888]:80/", "http://[2001:4860:4860::8888]/"),
    ],
)
def test_an_address_is_written_in_one_way(written: str, normal: str) -> None:
    assert normalised(written) == normal


@pytest.mark.parametrize("url", ["file:///etc/passwd", "gopher://e/", "http://a:b@e.example/", "mailto:a@b", "", "/a"])
def test_what_is_no_address_of_the_web_has_no_spelling(url: str) -> None:
    with pytest.raises(NotAllowed):
        normalised(url)
    assert Web.of([url], "DEFAULT").seeds == ()


HOSTS = st.sampled_from(["example.com", "www.example.com", "docs.example.com", "example.com.evil.test", "127.0.0.1"])
PARTS = st.text(alphabet="aAä.-_~%+;=:@ij4C2", min_size=0, max_size=5)
QUERIES = st.lists(st.text(alphabet="autm_x=%&?/1", max_size=8), max_size=3).map("&".join)


@st.composite
def urls(draw: st.DrawFn) -> str:
    port = draw(st.sampled_from(["", ":80", ":443", ":8443"]))
    path = "/".join(
        ["", *draw(st.lists(st.one_of(PARTS, st.sampled_from([".", "..", "docs", "docs-old"])), max_size=6))]
    )
    query = draw(QUERIES)
    return f"{draw(st.sampled_from(['http', 'https']))}://{draw(HOSTS)}{port}{path}{query and '?'}{query}"


@settings(max_examples=40)
@given(urls())
@example("http://example.com/%%34%31")
def test_the_normal_form_of_a_normal_form_is_itself(url: str) -> None:
    once = normalised(url)
    assert normalised(once) == once
    parts = urlsplit(once)
    assert parts.fragment == ""
    assert not {".", ".."} & set(parts.path.split("/"))
    assert not any(part.lower().startswith("utm_") for part in parts.query.split("&"))


@settings(max_examples=40)
@given(urls(), st.text(alphabet="ab%#", max_size=5))
def test_a_fragment_and_marks_of_campaigns_make_no_other_address(url: str, fragment: str) -> None:
    mark = "&" if "?" in url else "?"
    assert normalised(f"{url}#{fragment}") == normalised(url)
    assert normalised(f"{url}{mark}utm_campaign=x") in (normalised(url), normalised(f"{url}{mark}"))


@settings(max_examples=60)
@given(st.sampled_from(["", "http://", "https://e.example/", "https://e.example/?"]), st.text(max_size=30))
def test_whatever_a_page_writes_is_an_address_or_none(beginning: str, written: str) -> None:
    try:
        address = normalised(beginning + written)
    except NotAllowed:
        return
    assert address.isascii()
    assert address.startswith(("http://", "https://"))


# ---- Seeds ----------------------------------------------------------------------------------------------------------

SEED = "https://www.example.com/docs"


@pytest.mark.parametrize(
    ("reach", "covered", "not_covered"),
    [
        (
            "DEFAULT",
            ["/docs", "/docs/", "/docs/a/b", "/docs?x=1", "http://www.example.com/docs/a"],
            ["/", "/docs-old", "/docsa/", "/Docs/a", "https://example.com/docs/a", "https://a.www.example.com/docs"],
        ),
        (
            "HOST_ONLY",
            ["/", "/docs-old", "/x/y"],
            ["https://example.com/", "https://docs.example.com/", "https://www.example.com:8443/"],
        ),
        (
            "SUBDOMAINS",
            ["/", "https://example.com/", "https://docs.example.com/x", "https://a.b.example.com/"],
            ["https://notexample.com/", "https://example.com.evil.test/", "https://docs.example.com:8443/"],
        ),
    ],
)
def test_what_a_seed_covers(reach: str, covered: list[str], not_covered: list[str]) -> None:
    seed = Seed.of(SEED, reach)  # type: ignore[arg-type]

    def whole(url: str) -> str:
        return normalised(url if "://" in url else f"https://www.example.com{url}")

    assert {url: seed.covers(whole(url)) for url in covered} == dict.fromkeys(covered, True)
    assert {url: seed.covers(whole(url)) for url in not_covered} == dict.fromkeys(not_covered, False)


@pytest.mark.parametrize(
    ("seed", "folder"),
    [
        ("/docs/start.html", ("docs",)),
        ("/docs/v1.2/", ("docs", "v1.2")),
        ("/docs/v1.2", ("docs",)),
        ("/index.html?x=1", ()),
        ("/", ()),
    ],
)
def test_a_last_segment_with_a_dot_is_a_file_in_its_folder(seed: str, folder: tuple[str, ...]) -> None:
    assert Seed.of(f"https://e.example{seed}", "DEFAULT").folder == folder


def test_www_is_left_off_where_a_domain_remains() -> None:
    assert Seed.of("https://www.com/", "SUBDOMAINS").covers("https://a.www.com/")
    assert not Seed.of("https://www.com/", "SUBDOMAINS").covers("https://other.com/")


@settings(max_examples=40)
@given(urls(), urls())
def test_scopes_contain_one_another(seed: str, url: str) -> None:
    """DEFAULT is within HOST_ONLY, and that within SUBDOMAINS; a seed is within its own, whatever it is."""
    address = normalised(url)
    default, host, domain = (Seed.of(seed, reach) for reach in ("DEFAULT", "HOST_ONLY", "SUBDOMAINS"))
    assert default.covers(address) <= host.covers(address) <= domain.covers(address)
    for each_seed in (default, host, domain):
        assert each_seed.covers(each_seed.url)
    if default.covers(address):
        assert default.covers(f"{address.partition('?')[0].rstrip('/')}/further")


def test_a_page_belongs_to_the_first_seed_that_covers_it() -> None:
    web = Web.of(["https://e.example/docs/a", "no address", "https://e.example/docs", "https://f.example/"], "DEFAULT")
    assert web.owner("https://e.example/docs/a/1") == "https://e.example/docs/a"
    assert web.owner("https://e.example/docs/b") == "https://e.example/docs"
    assert web.owner("https://f.example/x") == "https://f.example/"
    assert web.owner("https://e.example/blog") is None


# ---- Filters and traps ----------------------------------------------------------------------------------------------


def test_exclusion_comes_first_and_blank_patterns_are_none() -> None:
    def passes(include: list[str], exclude: list[str], url: str = "https://e.example/docs/a.html?x=1") -> bool:
        return Web.of([], "DEFAULT", include, exclude).passes(url)

    assert passes([""], [" "])
    assert passes([r".*\.html", "never"], [])
    assert not passes(["never"], [])
    assert not passes([r"/docs/"], [r"\?x="])
    assert passes(["^https://e"], ["^e.example"])


@pytest.mark.parametrize("pattern", ["(?=a)", r"(a)\1", "[", "*a", "(?P<x>a", "a{2000}", "\ud800"])
def test_a_pattern_that_re2_refuses_is_named(pattern: str, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(PatternRefused) as refused:
        patterns(["fine", "", pattern, "("])
    assert refused.value.pattern == pattern
    with pytest.raises(SourceFault, match=r"The pattern .* is no regular expression that RE2 reads"):
        Web.of([], "DEFAULT", [], [pattern])
    assert capfd.readouterr() == ("", "")


@settings(max_examples=40)
@given(st.text(alphabet="a(*)+?|[]^", max_size=12))
def test_no_pattern_takes_long(pattern: str) -> None:
    """RE2 takes linear time: what is refused is refused, and all else answers about the longest address."""
    try:
        compiled = patterns([pattern])
    except PatternRefused:
        return
    Web((), compiled).passes(f"https://e.example/{'a' * 1900}!")


def test_addresses_without_end_are_told_by_their_length_and_their_parts() -> None:
    assert not is_endless(f"https://e.example{'/a' * 20}?{'/b' * 30}")
    assert is_endless(f"https://e.example{'/a' * 21}")
    assert not is_endless(f"https://e.example/{'a' * 1982}")
    assert is_endless(f"https://e.example/{'a' * 1983}")
