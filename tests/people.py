"""Alice, Bob, Carol and their tokens: local identities, verified the way Cognito's are."""

from functools import lru_cache

from bedrock_chat.identity import local, tokens
from bedrock_chat.identity.models import SigningKey


@lru_cache(maxsize=1)
def private_key() -> str:
    """Made once per run: the database of every test is new, and a key takes longer than most tests."""
    return local.new_key().private_key


def token_for(username: str, *groups: str) -> str:
    tokens.reset()  # the test before may have had another key
    key = SigningKey(kid=local.FIRST_KEY, private_key=private_key())
    SigningKey.objects.bulk_create([key], ignore_conflicts=True)
    return local.issue_token(username, groups)


def auth(username: str, *groups: str) -> dict[str, str]:
    """Header arguments of Django's and DRF's test clients."""
    return {"HTTP_AUTHORIZATION": f"Bearer {token_for(username, *groups)}"}
