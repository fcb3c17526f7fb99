"""One line per request, without what users wrote and without tokens."""

import io
import json
import logging
import re
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import structlog
from django.test import Client

from bedrock_chat import logs

TOKEN = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJhbGljZSJ9.c2lnbmF0dXJl"


def formatter(*, as_json: bool) -> logging.Formatter:
    options = dict(logs.configure(as_json=as_json, level="INFO")["formatters"]["events"])
    built: logging.Formatter = options.pop("()")(**options)
    return built


class Lines(logging.Handler):
    """Keeps what the product would write to stderr."""

    def __init__(self) -> None:
        super().__init__()
        self.setFormatter(formatter(as_json=True))
        self.lines: list[dict[str, Any]] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(json.loads(self.format(record)))

    def requests(self) -> list[dict[str, Any]]:
        return [line for line in self.lines if line["event"] == "request"]


@pytest.fixture
def written() -> Iterator[Lines]:
    handler = Lines()
    logging.getLogger().addHandler(handler)
    yield handler
    logging.getLogger().removeHandler(handler)


def write(as_json: bool, message: str, *args: Any, **extra: Any) -> str:
    record = logging.LogRecord("a.logger", logging.ERROR, "file.py", 1, message, args, extra.get("exc_info"))
    return formatter(as_json=as_json).format(record)


def test_a_request_leaves_one_line_with_what_was_bound(client: Client, written: Lines) -> None:
    client.get("/items/an-id?q=a-word", headers={"Authorization": f"Bearer {TOKEN}", "X-Request-ID": "r-1"})
    [line] = written.requests()
    assert line.pop("duration_ms") >= 0
    assert line.pop("timestamp").endswith("Z")
    assert line == {
        "event": "request",
        "level": "info",
        "logger": "bedrock_chat.request",
        "request_id": "r-1",
        "method": "GET",
        "route": "/items/{item_id}",
        "status": 200,
        "model": "claude",
    }


@pytest.mark.parametrize(
    ("address", "route", "status", "level"),
    [
        ("/no/such/place", None, 404, "info"),
        ("/fails/gateway", "/fails/{how}", 502, "warning"),
        ("/fails/crash", "/fails/{how}", 500, "warning"),
        ("/items/%00", None, 400, "info"),
    ],
)
def test_failures_leave_a_line_too(
    client: Client, written: Lines, address: str, route: str | None, status: int, level: str
) -> None:
    client.get(address)
    [line] = written.requests()
    assert (line["route"], line["status"], line["level"]) == (route, status, level)


def test_the_lines_of_one_request_share_its_id_and_nothing_stays_for_the_next(client: Client, written: Lines) -> None:
    client.get("/items/1")
    client.get("/fails/crash")
    first, crash, second = written.lines
    assert crash["request_id"] == second["request_id"] != first["request_id"]
    assert "model" not in second


@pytest.mark.django_db  # a response that is closed looks after the connection
def test_a_stream_leaves_its_line_when_it_ends(client: Client, written: Lines) -> None:
    response = client.get("/stream")
    assert written.requests() == []
    assert b"".join(response.streaming_content) == b"first"
    response.close()
    [line] = written.requests()
    assert (line["status"], line["output_tokens"]) == (200, 7)


@pytest.mark.parametrize(
    ("sent", "kept"),
    [("abc-1.2_3", True), ("x" * 64, True), ("x" * 65, False), ("a b", False), ("é", False), ("", False)],
)
def test_a_sane_request_id_is_taken_over_and_another_replaced(client: Client, sent: str, kept: bool) -> None:
    request_id = client.get("/items/1", headers={"X-Request-ID": sent})["X-Request-ID"]
    assert (request_id == sent) is kept
    assert logs._SOUND_ID.fullmatch(request_id)


@pytest.mark.parametrize("as_json", [True, False])
@pytest.mark.parametrize(
    "secret",
    [
        f"Authorization: Bearer {TOKEN}",
        f"bearer   {TOKEN}",
        "Authorization: Bearer 0123456789abcdef",
        TOKEN,
        f'{{"token": "{TOKEN}"}}',
        TOKEN.rpartition(".")[0],
    ],
)
def test_what_looks_like_a_token_is_not_written(as_json: bool, secret: str) -> None:
    line = write(as_json, "a message with %s in it", secret)
    assert not any(part in line for part in (*TOKEN.split(".")[:2], "0123456789abcdef"))
    assert "[token]" in line
    assert "in it" in line
    if as_json:
        assert json.loads(line)["level"] == "error"


@pytest.mark.parametrize("as_json", [True, False])
def test_a_traceback_is_written_without_the_words_that_errors_quote(as_json: bool) -> None:
    quoting = "value too long\nDETAIL: Failing row contains (dear diary)."
    try:
        try:
            raise ValueError(quoting)
        except ValueError as error:
            raise RuntimeError(f"the second with {TOKEN}") from error
    except RuntimeError as error:
        line = write(as_json, "it failed", exc_info=(type(error), error, error.__traceback__))
    assert "ValueError: value too long" in line
    assert "RuntimeError: the second with [token]" in line
    assert "test_logs.py" in line
    assert "diary" not in line


def test_lines_for_people_are_readable() -> None:
    line = write(False, "it happened %d times", 3)
    assert "it happened 3 times" in line
    assert not line.startswith("{")


@pytest.mark.parametrize("name", ["botocore", "urllib3", "boto3", "django.db.backends", "uvicorn"])
def test_debugging_does_not_write_out_what_others_send(name: str) -> None:
    assert logs.configure(as_json=True, level="DEBUG")["loggers"][name]["level"] == "INFO"
    assert logs.configure(as_json=True, level="ERROR")["loggers"][name]["level"] == "ERROR"
    logs.configure(as_json=True, level="INFO")


@pytest.mark.parametrize("as_json", [True, False])
@pytest.mark.parametrize("status", [200, 503])
def test_the_line_of_a_request_looks_like_any_other_event(as_json: bool, status: int) -> None:
    """It takes a way of its own to the log, past structlog's processors."""
    records: list[logging.LogRecord] = []
    handler = logging.Handler()
    handler.emit = records.append  # type: ignore[method-assign]
    facts = {"request_id": "r-1", "user_id": f"Bearer {TOKEN}", "model": "claude", "price": 0.001}
    line = {"method": "GET", "route": None, "status": status, "duration_ms": 12.3}
    logging.getLogger().addHandler(handler)
    try:
        logs._write_line(facts, "GET", None, status, 0.01234)
        level = logging.WARNING if status == 503 else logging.INFO
        structlog.get_logger("bedrock_chat.request").log(level, "request", **facts, **line)
    finally:
        logging.getLogger().removeHandler(handler)
    texts = [re.sub(r"[-0-9]+T[0-9:.]+Z", "TIME", formatter(as_json=as_json).format(record)) for record in records]
    assert texts[0] == texts[1]
    assert "TIME" in texts[0]
    assert "[token]" in texts[0]


def test_a_line_below_the_level_is_not_written(written: Lines) -> None:
    logs.logger.setLevel(logging.WARNING)
    try:
        logs._write_line({}, "GET", None, 200, 0.01)
        logs._write_line({}, "GET", None, 500, 0.01)
    finally:
        logs.logger.setLevel(logging.NOTSET)
    assert [line["status"] for line in written.requests()] == [500]


def test_of_djangos_own_lines_about_requests_only_tracebacks_pass() -> None:
    only = logs.Tracebacks()
    plain = logging.LogRecord("django.request", logging.WARNING, "f", 1, "Not Found: /conversation/an-id", (), None)
    failed = logging.LogRecord("django.request", logging.ERROR, "f", 1, "!", (), (ValueError, ValueError(), None))
    assert (only.filter(plain), only.filter(failed)) == (False, True)


class SlowStream(io.StringIO):
    """Takes its first text only when it may."""

    def __init__(self) -> None:
        super().__init__()
        self.is_writing, self.may_write = threading.Event(), threading.Event()
        self.writes = list[str]()

    def write(self, text: str) -> int:
        self.writes.append(text)
        self.is_writing.set()
        assert self.may_write.wait(10)
        return super().write(text)


@pytest.fixture
def slow() -> Iterator[tuple[logs.LineHandler, SlowStream, threading.Thread]]:
    """A handler whose first line a thread writes just now."""
    handler, stream = logs.LineHandler(), SlowStream()
    handler.stream = stream
    writing = threading.Thread(target=log, args=(handler, "first"))
    writing.start()
    assert stream.is_writing.wait(10)
    yield handler, stream, writing
    stream.may_write.set()
    writing.join()


def log(handler: logging.Handler, message: str, level: int = logging.INFO) -> None:
    handler.handle(logging.LogRecord("a.logger", level, "file.py", 1, message, (), None))


def test_who_logs_during_anothers_write_does_not_wait_and_its_line_follows(
    slow: tuple[logs.LineHandler, SlowStream, threading.Thread],
) -> None:
    handler, stream, writing = slow
    log(handler, "second")
    log(handler, "third")
    stream.may_write.set()
    writing.join()
    assert stream.writes == ["first\n", "second\nthird\n"]


@pytest.mark.parametrize(
    ("level", "lines_before"), [(logging.WARNING, 0), (logging.INFO, logs.MOST_UNWRITTEN)], ids=["warning", "full"]
)
def test_a_warning_and_one_line_too_many_are_written_when_the_call_returns(
    slow: tuple[logs.LineHandler, SlowStream, threading.Thread], level: int, lines_before: int
) -> None:
    handler, stream, _ = slow
    for _ in range(lines_before):
        log(handler, "a line")
    logging_it = threading.Thread(target=log, args=(handler, "last", level))
    logging_it.start()
    logging_it.join(0.2)
    assert logging_it.is_alive()
    stream.may_write.set()
    logging_it.join()
    assert stream.getvalue().splitlines() == ["first", *["a line"] * lines_before, "last"]


def test_no_line_of_many_threads_is_lost_or_written_twice() -> None:
    handler, stream = logs.LineHandler(), io.StringIO()
    handler.stream = stream
    threads = [
        threading.Thread(target=lambda own=own: [log(handler, f"{own}-{number}") for number in range(500)])
        for own in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    lines = stream.getvalue().splitlines()
    assert sorted(lines) == sorted(f"{own}-{number}" for own in range(8) for number in range(500))
