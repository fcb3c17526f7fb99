"""`/ws`, the protocol that existing frontends speak: START, the body in parts, END, and then the answer's frames.

The client sends `{"step": "START", "token"}`, then `{"step": "BODY", "index", "part"}` in any order, then
`{"step": "END", "token"}`; the joined parts are the JSON body of `POST /conversation`. A socket that closes without
STREAMING_END or ERROR is taken for success by its frontend, so one of them always comes, ERROR last of all.
"""

import asyncio
import codecs
import contextlib
import json
import tempfile
from collections.abc import AsyncGenerator, Iterator, Mapping
from typing import Any

from django.conf import settings
from django.http import HttpRequest

from bedrock_chat import logs, threads
from bedrock_chat.identity import cognito
from bedrock_chat.identity.caller import Caller
from bedrock_chat.pump import Message, Receive, Send, pump
from bedrock_chat.wire import parsers
from bedrock_chat.wire.errors import BadRequest, ServiceUnavailable, recorded
from bedrock_chat.wire.renderers import dumps
from conversations.serializers import read_chat_input
from conversations.streaming import turns
from conversations.streaming.log import Batch, Log
from conversations.streaming.pieces import ERROR, joined

LARGEST_PART = 32_768  # UTF-16 units, as frontends cut them
MEGABYTE = 1024 * 1024
SPOOL_BYTES = 4 * MEGABYTE  # what is larger waits in a temporary file
METHOD = "WEBSOCKET"  # in the log, where others have GET or POST
SESSION_STARTED = "Session started."
PART_RECEIVED = "Message part received."
MESSAGE_SENT = "Message sent."
NORMAL, POLICY_VIOLATION = 1000, 1008


class Gone(Exception):
    """The client has left."""


class Body:
    """The parts of a message, in whatever order they come; their sum is bounded like any body.

    They are kept as UTF-16, which is how they were cut: a boundary may split a surrogate pair.
    """

    def __init__(self) -> None:
        self._spool = tempfile.SpooledTemporaryFile(max_size=SPOOL_BYTES)  # noqa: SIM115  closed with the session
        self._parts: dict[int, tuple[int, int]] = {}  # index → where it lies, and its length
        self._size = 0

    def add(self, index: Any, part: Any) -> None:
        """Raises BadRequest for what is no part, or one too many."""
        most = settings.MAX_BODY_MB * MEGABYTE
        if not isinstance(index, int) or isinstance(index, bool) or not 0 <= index <= most // LARGEST_PART:
            raise BadRequest("A part needs an index, counted from 0, within the largest message.")
        if not isinstance(part, str):
            raise BadRequest("A part needs its text.")
        data = part.encode("utf-16-le", "surrogatepass")
        if len(data) > 2 * LARGEST_PART:
            raise BadRequest(f"A part holds at most {LARGEST_PART} UTF-16 units.")
        if self._size + len(data) > 2 * most:
            raise BadRequest(f"The message is larger than {settings.MAX_BODY_MB} MB.")
        self._parts[index] = self._size, len(data)
        self._spool.seek(self._size)
        self._spool.write(data)
        self._size += len(data)

    def joined(self) -> bytes:
        """The whole message as UTF-8. Raises BadRequest where a part is missing, or the text is none."""
        if not self._parts:
            raise BadRequest("The message has no parts: send BODY before END.")
        if max(self._parts) >= len(self._parts):
            raise BadRequest("Parts of the message are missing.")
        decoder = codecs.getincrementaldecoder("utf-16-le")()
        try:
            whole = b"".join(decoder.decode(self._read(index)).encode() for index in range(len(self._parts)))
            decoder.decode(b"", final=True)
            return whole
        except UnicodeDecodeError:
            raise BadRequest("The message holds half a character.") from None

    def _read(self, index: int) -> bytes:
        start, length = self._parts[index]
        self._spool.seek(start)
        return self._spool.read(length)

    def close(self) -> None:
        self._spool.close()


class Session:
    """One socket. Nothing is kept of it but the parts of a message that is being sent."""

    def __init__(self, scope: Mapping[str, Any], environ: dict[str, Any], receive: Receive, send: Send) -> None:
        self._scope = scope
        self._receive = receive
        self._send = send
        self._request = HttpRequest()
        self._request.META = environ
        self._user_id: str | None = None
        self._body = Body()
        self._task: asyncio.Task[Any] | None = None
        self._answered = False
        self._logged = False
        self.answering = False

    async def run(self) -> None:
        await self._receive()  # the connect
        if not _is_allowed(self._request.META.get("HTTP_ORIGIN")):
            await self._send({"type": "websocket.close", "code": POLICY_VIOLATION})
            return
        await self._send({"type": "websocket.accept"})
        self._task = asyncio.current_task()
        _sessions.add(self)
        try:
            await self._converse()
        except Gone:
            pass
        except asyncio.CancelledError:
            if self._answered:  # it has had its last word
                await self._close(NORMAL)
            else:
                await self._refuse(ServiceUnavailable("This server is shutting down; send the message again."))
        except Exception as error:  # noqa: BLE001  the client is told, and what is our fault is recorded
            if not self._logged:
                with logs.line(method=METHOD, route=self._scope["path"]) as ended:
                    ended(recorded(error).status_code)
            await self._refuse(error)
        finally:
            _sessions.discard(self)
            self._body.close()

    def interrupt(self) -> None:
        """Ends the session with an ERROR. To be called on its event loop."""
        if self._task is not None:
            self._task.cancel()

    async def _converse(self) -> None:
        while True:
            message = await self._next()
            match message.get("step"):
                case "START":
                    await self._start(message.get("token"))
                case "BODY" if self._user_id is None:
                    raise BadRequest("Send START with a token first.")
                case "BODY":
                    self._body.add(message.get("index"), message.get("part"))
                    await self._tell(PART_RECEIVED)
                case "END" if self._user_id is None:
                    raise BadRequest("Send START with a token first.")
                case "END":
                    await self._answer(message.get("token"))
                case _:
                    raise BadRequest("The step of a message is START, BODY or END.")

    async def _next(self) -> dict[str, Any]:
        """The next message. Raises BadRequest for what is none, or where none came for BODY_TIMEOUT seconds."""
        try:
            async with asyncio.timeout(settings.BODY_TIMEOUT):
                event = await self._receive()
        except TimeoutError:
            if self._answered:
                await self._close(NORMAL)
                raise Gone from None
            raise BadRequest(f"Nothing came for {settings.BODY_TIMEOUT:g} seconds.") from None
        if event["type"] == "websocket.disconnect":
            raise Gone
        try:
            message = json.loads(event.get("text") or "")
        except (ValueError, RecursionError):
            message = None
        if not isinstance(message, dict):
            raise BadRequest("A message is a JSON object.")
        return message

    async def _start(self, token: Any) -> None:
        caller = await threads.shared().run(lambda: cognito.sign_in(self._request, _text(token)))
        self._user_id, self._answered = caller.user_id, False
        self._body.close()
        self._body = Body()
        await self._tell(SESSION_STARTED)

    async def _answer(self, token: Any) -> None:
        """Lets a turn begin and sends its frames. The session can begin anew after them."""
        with logs.line(method=METHOD, route=self._scope["path"]) as ended:
            self._logged = self.answering = True
            try:
                log = await threads.shared().run(lambda: self._begin(_text(token)))
                whole = await pump(_frames(log.follow()), self._receive, self._send, gone="websocket.disconnect")
                last, data = log.pieces[-1]
                ended(data["status"] if last == ERROR else 200)
            except Exception as error:
                refusal = recorded(error)
                ended(refusal.status_code)
                raise refusal from error
            finally:
                self.answering = False
        if not whole:
            raise Gone
        if last == ERROR:
            await self._close(POLICY_VIOLATION)
            raise Gone
        self._user_id, self._answered, self._logged = None, True, False

    def _begin(self, token: str) -> Log:
        """On a thread. The token of END decides, and must be of the user who said START."""
        caller: Caller = cognito.sign_in(self._request, token)
        if caller.user_id != self._user_id:
            raise BadRequest("END must come from the user who said START.")
        return turns.begin(caller, read_chat_input(parsers.parse(self._body.joined())))[1]

    async def _refuse(self, error: Exception) -> None:
        with contextlib.suppress(Exception):  # the socket may be gone already
            await self._tell(_error(str(recorded(error).detail)))
            await self._close(POLICY_VIOLATION)

    async def _close(self, code: int) -> None:
        await self._send({"type": "websocket.close", "code": code})

    async def _tell(self, text: str) -> None:
        await self._send({"type": "websocket.send", "text": text})


def _text(token: Any) -> str:
    if not isinstance(token, str):
        raise BadRequest("START and END need a token.")
    return token


def _is_allowed(origin: str | None) -> bool:
    """Browsers say where a page comes from; nobody else does, and then the token alone decides."""
    if origin is None or settings.CORS_ALLOW_ALL_ORIGINS:
        return True
    return origin in settings.CORS_ALLOWED_ORIGINS or origin == settings.PUBLIC_BASE_URL


# ---- Frames ---------------------------------------------------------------------------------------------------------


async def _frames(batches: AsyncGenerator[Batch, None]) -> AsyncGenerator[Message, None]:
    async with contextlib.aclosing(batches):
        async for first, batch in batches:
            for _, kind, data in joined(first, batch):
                for text in frames_of(kind, data):
                    yield {"type": "websocket.send", "text": text}


def frames_of(kind: str, data: Any) -> Iterator[str]:
    """What the frontend is sent of a piece: nothing of what it does not know."""
    match kind:
        case "text":
            yield dumps({"status": "STREAMING", "completion": data}).decode()
        case "reasoning":
            yield dumps({"status": "REASONING", "completion": data}).decode()
        case "tool_use":
            log = {data["toolUseId"]: {"name": data["name"], "input": data["input"]}}
            yield dumps({"status": "AGENT_THINKING", "log": log}).decode()
        case "tool_result":
            yield dumps({"status": "AGENT_TOOL_RESULT", "result": data}).decode()
        case "related_document":
            yield dumps({"status": "AGENT_RELATED_DOCUMENT", "result": data}).decode()
        case "message_stop":
            yield dumps(_streaming_end(data)).decode()
            yield MESSAGE_SENT
        case "error":
            yield _error(data["detail"])


def _streaming_end(data: dict[str, Any]) -> dict[str, Any]:
    usage = data["usage"] or {}
    return {
        "status": "STREAMING_END",
        "completion": "",
        "stop_reason": data["stopReason"],
        "token_count": {
            "input": usage.get("inputTokens", 0),
            "output": usage.get("outputTokens", 0),
            "cache_read_input": usage.get("cacheReadInputTokens", 0),
            "cache_write_input": usage.get("cacheWriteInputTokens", 0),
        },
        "price": data["price"],
    }


def _error(reason: str) -> str:
    return dumps({"status": "ERROR", "reason": reason}).decode()


# ---- All sessions of this process -----------------------------------------------------------------------------------

_sessions: set[Session] = set()
_interrupted = False


async def serve(scope: Mapping[str, Any], environ: dict[str, Any], receive: Receive, send: Send) -> None:
    """The ASGI application of `/ws`. `environ` is the opening request as WSGI has it."""
    await Session(scope, environ, receive, send).run()


def busy() -> int:
    """Sessions that are owed an answer; once interrupted, all that are still there."""
    return len(_sessions) if _interrupted else sum(session.answering for session in _sessions)


def interrupt() -> None:
    """Ends the sessions that wait for their client. Those that are answering end with their turn."""
    global _interrupted  # noqa: PLW0603  a process ends once
    _interrupted = True
    for session in list(_sessions):
        if not session.answering:
            session.interrupt()


def abandon() -> None:
    for session in list(_sessions):
        session.interrupt()
