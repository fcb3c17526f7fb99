"""Turns on the page to try the product: the page shows what the server has stored."""

import re
import urllib.request

import pytest
from playwright.sync_api import Page, Route, expect

from tests.console.chat_page.page import LONG, answers, ask, branch, finished, press, say, stored, words
from tests.console.conftest import MARKS
from tests.emulator import Emulator
from tests.live import LiveServer

pytestmark = MARKS


# ---- A turn ---------------------------------------------------------------------------------------------------------


def test_a_first_message_streams_and_is_stored(chat: Page, server: LiveServer, token: str) -> None:
    say(chat, LONG)
    expect(answers(chat)).to_contain_text("quick brown")
    expect(chat.locator("#stop")).to_be_visible()
    assert len(answers(chat).text_content() or "") < len(words(120))
    finished(chat)
    expect(answers(chat)).to_have_text(words(120))
    expect(chat.get_by_role("status")).to_have_text("The answer is complete.")
    assert branch(stored(chat, server, token)) == [LONG, words(120)]


def test_a_new_conversation_gets_a_title(chat: Page, server: LiveServer, token: str, bedrock: Emulator) -> None:
    bedrock.queue({}, {"text": "Of greetings"})
    ask(chat, "hello")
    expect(chat.get_by_role("heading", level=1)).to_have_text("Of greetings")
    expect(chat.get_by_role("link", name="Of greetings")).to_have_attribute("aria-current", "page")
    assert stored(chat, server, token)["title"] == "Of greetings"


def test_reasoning_shows_apart_from_the_answer(chat: Page) -> None:
    press(chat, "Reasoning")
    ask(chat, "hello")
    expect(answers(chat)).to_have_text("Echo: hello")
    thought = chat.get_by_text("Thinking about it step by step.")
    expect(thought).to_be_hidden()
    chat.locator("summary").click()
    expect(thought).to_be_visible()


def test_code_stands_apart_and_markup_is_text(chat: Page) -> None:
    ask(chat, "<b>a</b>\n```py\n<i>b</i>\n```\nc")
    assert answers(chat).locator("p, pre").all_text_contents() == ["Echo: <b>a</b>", "<i>b</i>\n", "c"]


def test_stopping_keeps_what_was_said_and_it_can_go_on(chat: Page, server: LiveServer, token: str) -> None:
    say(chat, LONG)
    expect(answers(chat)).to_contain_text("quick brown")
    press(chat, "Stop")
    finished(chat)
    partial = answers(chat).text_content() or ""
    assert words(120).startswith(partial)
    assert len(partial) < len(words(120))
    expect(chat.get_by_text("Stopped.")).to_be_visible()
    assert branch(stored(chat, server, token)) == [LONG, partial]
    press(chat, "Continue")
    finished(chat)
    whole = branch(stored(chat, server, token))[1]
    assert whole.startswith(partial)
    assert len(whole) > len(partial)
    expect(answers(chat)).to_have_text(whole)


def test_stopping_before_the_first_word_leaves_the_question_to_be_asked_again(chat: Page, bedrock: Emulator) -> None:
    bedrock.script(silence=True)
    say(chat, "Are you there?")
    chat.keyboard.press("Escape")
    finished(chat)
    expect(chat.get_by_role("alert")).to_contain_text("Stopped.")
    bedrock.script(text="Yes.")
    press(chat, "Try again")
    expect(answers(chat)).to_have_text("Yes.")


def test_a_reload_in_mid_answer_loses_and_doubles_nothing(chat: Page, server: LiveServer, token: str) -> None:
    say(chat, LONG)
    expect(answers(chat)).to_contain_text("quick brown")
    chat.reload()
    expect(answers(chat)).to_contain_text("quick brown")
    expect(chat.locator("#stop")).to_be_visible()
    finished(chat)
    expect(answers(chat)).to_have_text(words(120))
    assert branch(stored(chat, server, token)) == [LONG, words(120)]


@pytest.mark.parametrize("checkpointed", [False, True])
def test_a_reload_in_mid_continuation_loses_and_doubles_nothing(
    chat: Page, server: LiveServer, token: str, bedrock: Emulator, checkpointed: bool
) -> None:
    ask(chat, "Begin. [[max_tokens]]")
    bedrock.script(words=250, pace=0.02)
    press(chat, "Continue")
    expect(answers(chat)).to_contain_text("quick brown")
    if checkpointed:
        while "brown" not in branch(stored(chat, server, token))[1]:
            chat.wait_for_timeout(100)
    chat.reload()
    expect(answers(chat)).to_contain_text("quick brown")
    finished(chat)
    assert branch(stored(chat, server, token))[1] == f"This answer stops{words(250)}"
    expect(answers(chat)).to_have_text(f"This answer stops{words(250)}")


def test_a_lost_connection_is_made_again_from_the_last_event_seen(chat: Page) -> None:
    seen = []

    def cut(route: Route) -> None:
        request = urllib.request.Request(route.request.url, route.request.post_data_buffer, route.request.headers)
        with urllib.request.urlopen(request) as response:
            beginning = b"".join(response.readline() for _ in range(4 * 4))
        seen.append(re.findall(rb"^id: (.+)$", beginning, re.MULTILINE)[-1].decode())
        route.fulfill(content_type="text/event-stream", body=beginning)

    chat.route("**/conversation", cut, times=1)
    with chat.expect_request("**/stream") as resumed:
        say(chat, LONG)
    assert [resumed.value.headers["last-event-id"]] == seen
    finished(chat)
    expect(answers(chat)).to_have_text(words(120))


def test_a_turn_of_another_process_is_waited_for(chat: Page, server: LiveServer) -> None:
    say(chat, LONG)
    expect(answers(chat)).to_contain_text("quick brown")
    elsewhere = 'event: waiting\ndata: {"detail":"Another process is answering."}\n\n'
    chat.route("**/stream", lambda route: route.fulfill(content_type="text/event-stream", body=elsewhere), times=1)
    chat.reload()
    expect(chat.get_by_text("Being answered elsewhere.")).to_be_visible()
    finished(chat)
    expect(answers(chat)).to_have_text(words(120))


def test_a_throttled_model_is_named_while_one_waits(chat: Page) -> None:
    say(chat, "Patience. [[throttle:2]]")
    expect(chat.get_by_text("The model is busy.")).to_be_visible()
    expect(answers(chat)).to_have_text("Echo: Patience. [[throttle:2]]")


# ---- Failures -------------------------------------------------------------------------------------------------------


def test_a_failed_question_is_asked_again_in_its_place(chat: Page, server: LiveServer, token: str) -> None:
    question = "Once. [[fault:ValidationException:times:1]]"
    ask(chat, question)
    expect(chat.get_by_role("alert")).to_contain_text("Bedrock refused the request")
    chat.reload()
    expect(chat.get_by_role("alert")).to_contain_text("This message has no answer.")
    press(chat, "Try again")
    expect(answers(chat)).to_have_text(f"Echo: {question}")
    expect(chat.get_by_role("alert")).to_have_count(0)
    assert branch(stored(chat, server, token)) == [question, f"Echo: {question}"]


def test_an_answer_that_breaks_is_kept_and_asked_for_again_beside_it(chat: Page) -> None:
    ask(chat, "Halfway. [[words:40]] [[cut:after:10:times:1]]")
    expect(chat.get_by_text("This answer was interrupted.")).to_be_visible()
    expect(chat.get_by_role("alert")).to_be_visible()
    expect(answers(chat)).to_have_text(words(10))
    press(chat, "Answer again")
    expect(answers(chat)).to_have_text(words(40))
    expect(chat.locator(".answer .count")).to_have_text("2/2")


def test_what_is_refused_before_the_first_event_comes_back_into_the_box(chat: Page, faults: list[str]) -> None:
    chat.set_input_files("#files", {"name": "tool.exe", "mimeType": "application/x-msdownload", "buffer": b"MZ"})
    expect(chat.locator("#chosen")).to_contain_text("tool.exe")
    say(chat, "Run this")
    expect(chat.get_by_role("alert")).to_contain_text("fileName: Expected a file of one of these kinds")
    expect(chat.locator("#text")).to_have_value("Run this")
    expect(chat.locator("article")).to_have_count(0)
    press(chat, "Remove tool.exe")
    ask(chat, "Without it")
    expect(answers(chat)).to_have_text("Echo: Without it")
    assert all("400" in fault for fault in faults)
    faults.clear()


def test_an_address_of_no_conversation_says_so(chat: Page, server: LiveServer, faults: list[str]) -> None:
    chat.goto(f"{server.url}/chat#c=nowhere%2F1")
    expect(chat.get_by_role("alert")).to_have_text("There is no such conversation.")
    assert all("404" in fault for fault in faults)
    faults.clear()
