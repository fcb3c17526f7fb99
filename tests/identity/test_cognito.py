"""A pool as Cognito makes it (moto's server): signing in gives an ID token that is accepted, and no other token is."""

from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from moto.server import ThreadedMotoServer
from rest_framework.test import APIClient

from bedrock_chat.identity import tokens
from bedrock_chat.identity.models import User

pytestmark = pytest.mark.django_db
PASSWORD = "Correct-horse-1"


@pytest.fixture(scope="module")
def moto() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture(scope="module")
def alices(moto: str) -> dict[str, str]:
    """The tokens of Alice's sign-in, and the pool and client that they are for."""
    idp = boto3.client("cognito-idp", "us-east-1", endpoint_url=moto, aws_access_key_id="x", aws_secret_access_key="x")
    pool = idp.create_user_pool(PoolName="chat")["UserPool"]["Id"]
    client = idp.create_user_pool_client(
        UserPoolId=pool, ClientName="web", ExplicitAuthFlows=["ALLOW_ADMIN_USER_PASSWORD_AUTH"]
    )["UserPoolClient"]["ClientId"]
    idp.admin_create_user(
        UserPoolId=pool, Username="alice", UserAttributes=[{"Name": "email", "Value": "alice@example.com"}]
    )
    idp.admin_set_user_password(UserPoolId=pool, Username="alice", Password=PASSWORD, Permanent=True)
    idp.create_group(UserPoolId=pool, GroupName="PublishAllowed")
    idp.admin_add_user_to_group(UserPoolId=pool, Username="alice", GroupName="PublishAllowed")
    signed_in = idp.admin_initiate_auth(
        UserPoolId=pool,
        ClientId=client,
        AuthFlow="ADMIN_USER_PASSWORD_AUTH",
        AuthParameters={"USERNAME": "alice", "PASSWORD": PASSWORD},
    )["AuthenticationResult"]
    return {"id": signed_in["IdToken"], "access": signed_in["AccessToken"], "pool": pool, "client": client}


def test_an_id_token_of_the_pool_is_let_in_and_an_access_token_is_not(
    moto: str, alices: dict[str, str], settings: Any
) -> None:
    settings.COGNITO_USER_POOL_ID, settings.COGNITO_CLIENT_IDS = alices["pool"], [alices["client"]]
    # moto signs as AWS would and publishes its keys at home, so the two addresses differ.
    settings.COGNITO_ISSUER = f"https://cognito-idp.us-east-1.amazonaws.com/{alices['pool']}"
    settings.COGNITO_JWKS_URL = f"{moto}/{alices['pool']}/.well-known/jwks.json"
    tokens.reset()
    client = APIClient()
    assert client.get("/conversations", HTTP_AUTHORIZATION=f"Bearer {alices['id']}").status_code == 200
    user = User.objects.get()
    assert (user.username, user.token_groups) == ("alice", ["PublishAllowed"])
    assert client.get("/conversations", HTTP_AUTHORIZATION=f"Bearer {alices['access']}").status_code == 401
    tokens.reset()
