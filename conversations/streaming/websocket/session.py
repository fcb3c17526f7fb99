"""`/ws`, the protocol that existing frontends speak: START, the body in parts, END, and then the answer's frames.

The client sends `{"step": "START", "token"}`, then `{"step": "BODY", "index", "part"}` in any order, then
`{"step": "END", "token"}`; the joined parts are the JSON body of `POST /conversation`. A socket that closes without
STREAMING_END or ERROR is taken for success by its frontend, so one of them always comes, ERROR last of all.
"""

import asyncio
import contextlib
import json
from collections import deque
from collections.abc import AsyncGenerator, Mapping
from typing import Any

from django.conf import settings
from django.http import HttpRequest

from bedrock_chat import logs
from bedrock_chat.identity import authentication
from bedrock_chat.identity.caller import Caller
from bedrock_chat.process import thread_pool
from bedrock_chat.serving.outflow import OUTFLOW
from bedrock_chat.serving.sending import AsgiMessage, Receive, Send, pump
from bedrock_chat.serving.websocket_connection import TRUST
from bedrock_chat.wire import parsers
from bedrock_chat.wire.errors import BadRequest, ServiceUnavailable, recorded
from conversations.serializers import read_chat_input
from conversations.streaming import driver
from conversations.streaming.events import Failed, StreamEvent, joined
from conversations.streaming.log import Subscription
from conversations.streaming.websocket import frames
from conversations.streaming.websocket.upload import Body

LEAVING = "This server is shutting down; send the message again."
MOST_EARLY = 4
METHOD = "WEBSOCKET"  # in the log, where others have GET or POST
SESSION_STARTED = "Session started."
PART_RECEIVED = "Message part received."
NORMAL, POLICY_VIOLATION = 1000, 1008


class Gone(Exception):
    """The client has left."""


class Session:
    """One socket. Nothing is kept of it but the parts of a message that is being sent."""

    def __init__(self, scope: Mapping[str, Any], environ: dict[str, Any], receive: Receive, send: Send) -> None:
        self._scope = scope
        self._receive = receive
        self._send_raw = send
        self._request = HttpRequest()
        self._request.META = environ
        self._user_id: str | None = None
        self._known = False  # whether any token of this client was verified
        self._body = Body()
        self._task: asyncio.Task[Any] | None = None
        self._answered = False
        self._logged = False
        self._early: deque[AsgiMessage] = deque()
        self._last: StreamEvent | None = None  # that was sent
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
            if _interrupted:
                raise ServiceUnavailable(LEAVING)
            await self._converse()
        except Gone:
            pass
        except asyncio.CancelledError:
            if self._answered:  # it has had its last word
                await self._close(NORMAL)
            else:
                await self._refuse(ServiceUnavailable(LEAVING))
        except Exception as error:  # noqa: BLE001  the client is told, and what is our fault is recorded
            if not self._logged:
                with logs.line(method=METHOD, route=self._scope["path"]) as log_status:
                    log_status(recorded(error).status_code)
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
        """The next message. Raises BadRequest for what is none, or where none came in time: the first, with a token,
        within HEAD_TIMEOUT seconds, any other within BODY_TIMEOUT.
        """
        seconds = settings.BODY_TIMEOUT if self._known else settings.HEAD_TIMEOUT
        try:
            async with asyncio.timeout(seconds):
                if len(self._early) > MOST_EARLY:
                    raise BadRequest("Wait for an answer before you send the next message.")
                event = self._early.popleft() if self._early else await self._receive()
        except TimeoutError:
            if self._answered:
                await self._close(NORMAL)
                raise Gone from None
            raise BadRequest(f"Nothing came for {seconds:g} seconds.") from None
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
        caller = await thread_pool.shared().run(lambda: authentication.sign_in(self._request, _text(token)))
        self._known = True
        self._scope["extensions"][TRUST]()
        self._user_id, self._answered = caller.user_id, False
        self._body.close()
        self._body = Body()
        await self._tell(SESSION_STARTED)

    async def _answer(self, token: Any) -> None:
        """Lets a turn begin and sends its frames. The session can begin anew after them."""
        with logs.line(method=METHOD, route=self._scope["path"]) as log_status:
            self._logged = self.answering = True
            try:
                subscription = await thread_pool.shared().run(lambda: self._begin(_text(token)))
                self._body.close()
                whole = await pump(
                    self._frames(subscription),
                    self._hear,
                    self._send,
                    outflow=self._scope["extensions"][OUTFLOW],
                    disconnect="websocket.disconnect",
                )
                log_status(self._last.status if isinstance(self._last, Failed) else 200)
            except Gone:
                log_status(200)  # its turn goes on
                raise
            except Exception as error:
                refusal = recorded(error)
                log_status(refusal.status_code)
                raise refusal from error
            finally:
                self.answering = False
        if not whole:
            raise Gone
        if isinstance(self._last, Failed):
            await self._close(POLICY_VIOLATION)
            raise Gone
        self._user_id, self._answered, self._logged = None, True, False

    async def _frames(self, subscription: Subscription) -> AsyncGenerator[AsgiMessage, None]:
        """The frames of a turn, as ASGI sends them."""
        self._last = None
        async with contextlib.aclosing(subscription.batches) as batches:
            async for first, batch in batches:
                for _, event in joined(first, batch):
                    self._last = event
                    for text in frames.frames_of(event):
                        yield {"type": "websocket.send", "text": text}

    async def _hear(self) -> AsgiMessage:
        """What comes while the answer goes out: its client's leaving, or already its next message, which is kept."""
        event = await self._receive()
        if event["type"] == "websocket.receive" and len(self._early) <= MOST_EARLY:
            self._early.append(event)
        return event

    def _begin(self, token: str) -> Subscription:
        """On a thread. The token of END decides, and must be of the user who said START."""
        caller: Caller = authentication.sign_in(self._request, token)
        if caller.user_id != self._user_id:
            raise BadRequest("END must come from the user who said START.")
        return driver.begin(read_chat_input(parsers.parse(self._body.joined())), actor=caller)

    async def _refuse(self, error: Exception) -> None:
        with contextlib.suppress(Exception):  # the socket may be gone already
            await self._tell(frames.error(str(recorded(error).detail)))
            await self._close(POLICY_VIOLATION)

    async def _send(self, message: AsgiMessage) -> None:
        try:
            await self._send_raw(message)
        except OSError:  # uvicorn's way to say so, among others
            raise Gone from None

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
