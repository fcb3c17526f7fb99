"""A pool that throttles, stalls, fails or refuses: a 503 that says when to try again, and what the log tells."""

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from bedrock_chat.identity.directory import cognito, finding
from bedrock_chat.identity.directory.cognito import DIRECTORY
from bedrock_chat.identity.directory.types import DirectoryUnavailable
from bedrock_chat.identity.models import User
from bedrock_chat.resilience.dependencies import State
from tests.pool import ScriptedPool, refusal, searched
from tests.serving.conftest import eventually
from tests.stalling import FAULTS, SLOW_DRIP, Proxy, Service, once

pytestmark = pytest.mark.django_db(transaction=True)

QUESTIONS: dict[str, Callable[[], object]] = {
    "people": lambda: finding.people("al"),
    "groups": lambda: finding.groups("al"),
    "person": lambda: finding.person("alice"),
}
TIMEOUT = 1.5
PATIENCE = 30.0  # for what a busy machine does in its own time
LONGEST = TIMEOUT + 4  # a pause between two tries, and the rest for a busy machine
AT_ONCE = 1.2  # seconds that a busy machine may take for what waits for nothing; less than TIMEOUT


def seconds_until_refused(ask: Callable[[], object]) -> float:
    begun = time.monotonic()
    with pytest.raises(DirectoryUnavailable) as refused:
        ask()
    assert (refused.value.status_code, refused.value.headers["Retry-After"]) == (503, "5")
    assert str(refused.value.detail) == "The directory of people does not answer; try again."
    return time.monotonic() - begun


@pytest.mark.parametrize("question", QUESTIONS)
@pytest.mark.parametrize("code", ["TooManyRequestsException", "ThrottlingException"])
def test_throttling_is_no_fault_of_anybody(
    scripted: ScriptedPool, caplog: pytest.LogCaptureFixture, code: str, question: str
) -> None:
    scripted.answer = lambda *_: refusal(code)
    seconds_until_refused(QUESTIONS[question])
    assert len(scripted.calls) == 2  # it was tried once more
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []
    assert not DIRECTORY.is_away


@pytest.mark.parametrize("question", QUESTIONS)
@pytest.mark.parametrize(
    ("code", "remedy"),
    [
        ("UnrecognizedClientException", "renew them"),
        ("ExpiredTokenException", "renew them"),
        ("InvalidSignatureException", "renew them"),
        ("AccessDeniedException", "cognito-idp:ListUsers, ListGroups and AdminGetUser"),
        ("ResourceNotFoundException", "COGNITO_USER_POOL_ID and AWS_REGION"),
        ("SomethingNewException", "SomethingNewException"),
    ],
)
def test_the_log_names_the_remedy_for_what_only_an_operator_can_mend(
    scripted: ScriptedPool, caplog: pytest.LogCaptureFixture, code: str, remedy: str, question: str
) -> None:
    scripted.answer = lambda *_: refusal(code)
    seconds_until_refused(QUESTIONS[question])
    (line,) = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert code in line
    assert remedy in line
    assert "for some reason" not in line  # AWS's words may name people and accounts
    assert not DIRECTORY.is_away


@pytest.mark.parametrize("question", QUESTIONS)
def test_a_fault_of_cognitos_own_is_told_as_away(scripted: ScriptedPool, question: str) -> None:
    scripted.answer = lambda *_: refusal("InternalErrorException", 500)
    seconds_until_refused(QUESTIONS[question])
    assert not DIRECTORY.is_away


def test_an_answer_that_is_none_is_told_as_away(scripted: ScriptedPool) -> None:
    scripted.answer = lambda *_: (200, {"hello": "world"})
    for ask in QUESTIONS.values():
        seconds_until_refused(ask)


# ---- Stalling -------------------------------------------------------------------------------------------------------


@pytest.fixture
def proxy(scripted: ScriptedPool, settings: Any) -> Iterator[Proxy]:
    """Before the scripted pool. It is this process, so the proxy stands still in its place."""
    settings.DIRECTORY_TIMEOUT = PATIENCE
    with Proxy(Service(scripted.service.url)) as proxy, searched(proxy.url, scripted.id, settings):
        finding.people("al")  # the client is made
        settings.DIRECTORY_TIMEOUT = TIMEOUT
        yield proxy
        assert eventually(lambda: not DIRECTORY.is_away, 10)


@once
@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("question", QUESTIONS)
def test_a_question_is_ended_in_time_and_the_pool_left_alone_until_it_answers(
    proxy: Proxy, settings: Any, question: str, fault: str
) -> None:
    with proxy.having(fault):
        assert seconds_until_refused(QUESTIONS[question]) < LONGEST
        assert (DIRECTORY.is_away, DIRECTORY.state) == (True, State.NO_ANSWER)
        for ask in QUESTIONS.values():
            assert seconds_until_refused(ask) < AT_ONCE
    assert eventually(lambda: not DIRECTORY.is_away, 10)
    settings.DIRECTORY_TIMEOUT = PATIENCE
    assert finding.people("al") == []


def test_an_answer_that_drips_is_not_waited_for(proxy: Proxy) -> None:
    with proxy.having(SLOW_DRIP):
        assert seconds_until_refused(QUESTIONS["people"]) < LONGEST


def test_the_pages_of_groups_have_one_time_out_together(scripted: ScriptedPool, settings: Any) -> None:
    settings.DIRECTORY_TIMEOUT = TIMEOUT

    def slowly(*_: Any) -> Any:
        time.sleep(0.5)
        return 200, {"Groups": [], "NextToken": "more"}

    scripted.answer = slowly
    assert seconds_until_refused(QUESTIONS["groups"]) < LONGEST
    scripted.answer = lambda *_: (200, {"Groups": []})
    assert eventually(lambda: not DIRECTORY.is_away, 10)


def test_a_pool_that_cannot_be_reached_is_refused(settings: Any) -> None:
    gone = ScriptedPool(lambda *_: refusal("Gone"))
    gone._server.server_close()
    with searched(gone.service.url, gone.id, settings):
        seconds_until_refused(QUESTIONS["people"])
        assert DIRECTORY.is_away
        settings.COGNITO_USER_POOL_ID = ""  # the probe has nothing left to ask
        assert eventually(lambda: not DIRECTORY.is_away, 10)


# ---- Credentials ----------------------------------------------------------------------------------------------------


@pytest.fixture
def no_credentials(monkeypatch: pytest.MonkeyPatch, tmp_path: Any, settings: Any) -> Iterator[None]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    settings.COGNITO_USER_POOL_ID = "us-east-1_Test"
    cognito.reset()
    yield
    cognito.reset()


@pytest.mark.usefixtures("no_credentials")
def test_without_credentials_people_seen_here_are_found(caplog: pytest.LogCaptureFixture) -> None:
    User.objects.create(id="a", username="alice", token_groups=["all"])
    for _ in range(3):
        assert [person.name for person in finding.people("al")] == ["alice"]
        assert [group.name for group in finding.groups("al")] == ["all"]
        assert finding.person("a") is not None
    assert len([record for record in caplog.records if "AWS credentials" in record.getMessage()]) == 1


@pytest.mark.usefixtures("no_credentials")
@pytest.mark.parametrize("profile", ["absent", "broken"])
def test_credentials_that_cannot_be_had_are_told_as_away(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any, caplog: pytest.LogCaptureFixture, profile: str
) -> None:
    (tmp_path / "config").write_text("[profile broken]\ncredential_process = false\n")
    monkeypatch.setenv("AWS_PROFILE", profile)
    seconds_until_refused(QUESTIONS["people"])
    assert "Look at the server's profile or role." in caplog.text
