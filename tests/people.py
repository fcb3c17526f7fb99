"""Alice, Bob, Carol and their tokens: local identities, verified the way Cognito's are."""

from bedrock_chat.identity import cognito, local


def token_for(username: str, *groups: str) -> str:
    cognito.reset()  # the database is new for every test, and with it the signing key
    return local.issue_token(username, groups)


def auth(username: str, *groups: str) -> dict[str, str]:
    """Header arguments of Django's and DRF's test clients."""
    return {"HTTP_AUTHORIZATION": f"Bearer {token_for(username, *groups)}"}
