"""Of a token one text alone is accepted: its signature is base64url without padding, and each token is cached once."""

import base64
import string
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bedrock_chat.identity.tokens import InvalidToken, TokenVerifier, TrustedIssuer
from tests.tokens import CLIENT, ISSUER, make_key, make_token, public_jwk

KEY = make_key()
TOKEN = make_token(KEY)
SIGNED, _, SIGNATURE = TOKEN.rpartition(".")
ALPHABET = string.ascii_uppercase + string.ascii_lowercase + string.digits + "-_"


class KnownKey:
    """A source of one key."""

    def key(self, kid: str) -> object:
        from bedrock_chat.identity.jwks import parse

        return parse({"keys": [public_jwk(KEY, "k1")]}).get(kid)


@pytest.fixture(scope="module")
def verifier() -> Iterator[TokenVerifier]:
    """It remembers the one token, and nothing else when the tests are done."""
    verifier = TokenVerifier([TrustedIssuer(ISSUER, (CLIENT,), KnownKey())])  # type: ignore[arg-type]
    verifier.verify(TOKEN)
    yield verifier
    assert len(verifier._seen) == 1


def token_with(character: str) -> str:
    """A token whose signature has the character: one in ten or so lacks a given one."""
    for number in range(1000):
        token = make_token(KEY, jti=str(number))
        if character in token.rpartition(".")[2]:
            return token
    raise AssertionError(character)


def spare_bits() -> list[str]:
    """The other last characters that decode to the same signature: 256 bytes leave four bits over."""
    decoded = base64.urlsafe_b64decode(SIGNATURE + "==")
    others = [SIGNATURE[:-1] + last for last in ALPHABET if last != SIGNATURE[-1]]
    return [f"{SIGNED}.{other}" for other in others if base64.urlsafe_b64decode(other + "==") == decoded]


FORMS = {
    "padded": TOKEN + "==",
    "padded too little": TOKEN + "=",
    "padded too much": TOKEN + "====",
    "padded and longer": TOKEN + "==AAAA",
    "a trailing blank": TOKEN + " ",
    "a trailing line": TOKEN + "\n",
    "trailing junk": TOKEN + "!",
    "trailing junk of four": TOKEN + "!!!!",
    "four blanks inside": f"{SIGNED}.{SIGNATURE[:9]}    {SIGNATURE[9:]}",
    "a trailing letter": TOKEN + "A",
    "a leading blank": " " + TOKEN,
    "a blank inside": f"{SIGNED}.{SIGNATURE[:9]} {SIGNATURE[9:]}",
    "a line inside": f"{SIGNED}.{SIGNATURE[:9]}\r\n{SIGNATURE[9:]}",
    "a letter of another script": f"{SIGNED}.{SIGNATURE[:9]}\N{CYRILLIC SMALL LETTER A}{SIGNATURE[9:]}",
    "half a character": f"{SIGNED}.{SIGNATURE[:9]}\ud800{SIGNATURE[9:]}",
    "a padded payload": f"{SIGNED}=.{SIGNATURE}",
    "a dot more": f"{TOKEN}.",
    "a part more": f"{SIGNED}..{SIGNATURE}",
    "no signature": f"{SIGNED}.",
}


def test_the_forms_of_the_last_character_are_refused(verifier: TokenVerifier) -> None:
    assert len(spare_bits()) == 15
    for form in spare_bits():
        with pytest.raises(InvalidToken):
            verifier.verify(form)


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS.keys())
def test_another_form_of_a_valid_token_is_refused(verifier: TokenVerifier, form: str) -> None:
    with pytest.raises(InvalidToken):
        verifier.verify(form)


@pytest.mark.parametrize(("character", "other"), [("-", "+"), ("_", "/")])
def test_the_other_alphabet_is_refused(character: str, other: str) -> None:
    verifier = TokenVerifier([TrustedIssuer(ISSUER, (CLIENT,), KnownKey())])  # type: ignore[arg-type]
    signed, _, signature = token_with(character).rpartition(".")
    with pytest.raises(InvalidToken):
        verifier.verify(f"{signed}.{signature.replace(character, other)}")
    assert verifier.verify(f"{signed}.{signature}").username == "alice"
    assert len(verifier._seen) == 1


characters = st.one_of(st.sampled_from(ALPHABET + "+/=. \t\r\n!"), st.characters())
places = st.integers(0, len(TOKEN))


@given(st.lists(st.tuples(places, st.integers(0, 3), st.text(characters, max_size=4)), min_size=1, max_size=3))
def test_a_changed_token_is_refused_unless_nothing_changed(
    verifier: TokenVerifier, edits: list[tuple[int, int, str]]
) -> None:
    """Each edit replaces some characters at a place: so it inserts, deletes or changes."""
    changed = TOKEN
    for place, length, text in edits:
        changed = changed[:place] + text + changed[place + length :]
    if changed == TOKEN:
        return
    with pytest.raises(InvalidToken):
        verifier.verify(changed)


@given(st.integers(0, len(SIGNATURE)), st.integers(0, 3), st.text(characters, max_size=4))
def test_a_changed_signature_is_refused_unless_nothing_changed(
    verifier: TokenVerifier, place: int, length: int, text: str
) -> None:
    changed = SIGNATURE[:place] + text + SIGNATURE[place + length :]
    if changed == SIGNATURE:
        return
    with pytest.raises(InvalidToken):
        verifier.verify(f"{SIGNED}.{changed}")
