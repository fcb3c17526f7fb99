"""`/ws`, the protocol that existing frontends speak: START, the body in parts, END, and then the answer's frames.

The client sends `{"step": "START", "token"}`, then `{"step": "BODY", "index", "part"}` in any order, then
`{"step": "END", "token"}`; the joined parts are the JSON body of `POST /conversation`. A frontend takes a socket that
closes without STREAMING_END or ERROR for a success. So one of them is always sent, and nothing follows an ERROR.
"""

import asyncio
import contextlib
import json
import time
from collections import deque
from collections.abc import AsyncGenerator, Mapping
from typing import Any

from django.conf import settings
from django.http import HttpRequest

from bedrock_chat import logs
from bedrock_chat.identity import authentication
from bedrock_chat.identity.caller import Caller
from bedrock_chat.metrics.instruments import Gauge
from bedrock_chat.process import thread_pool
from bedrock_chat.serving.outflow import FLOOR_BYTES, FLOOR_SECONDS, OUTFLOW, Floor
from bedrock_chat.serving.sending import AsgiMessage, Receive, Send, pump
from bedrock_chat.serving.websocket_connection import TRUST
from bedrock_chat.wire import parsers
from bedrock_chat.wire.errors import BadRequest, RequestTimeout, ServiceUnavailable, recorded
from conversations.serializers import read_chat_input
from conversations.streaming import driver
from conversations.streaming.events import Failed, MessageStart, StreamEvent, is_last, joined
from conversations.streaming.log import Subscription
from conversations.streaming.websocket import frames
from conversations.streaming.websocket.upload import Body

LEAVING = "This server is shutting down; send the message again."
MOST_EARLY = 4  # messages that a client may send before it has its answer
METHOD = "WEBSOCKET"  # in the log, in place of GET or POST
SESSION_STARTED = "Session started."
PART_RECEIVED = "Message part received."
NORMAL, POLICY_VIOLATION = 1000, 1008


class Gone(Exception):
    """The client has left."""


class Session:
    """One socket. Its state lives in this process alone: above all the parts of the message that is being sent."""

    def __init__(self, scope: Mapping[str, Any], environ: dict[str, Any], receive: Receive, send: Send) -> None:
        self._scope = scope
        self._receive = receive
        self._send_raw = send
        self._request = HttpRequest()
        self._request.META = environ
        self._user_id: str | None = None
        self._known = False  # whether any token of this client was verified
        self._body = Body()
        self._received = 0  # characters since START
        self._floor = Floor()
        self._task: asyncio.Task[Any] | None = None
        self._answered = False  # the last message has its answer, and no new one has begun
        self._logged = False  # `_answer` writes the log line of this message
        self._early: deque[AsgiMessage] = deque()  # messages that came while an answer was sent
        self._last: StreamEvent | None = None  # the last event that was sent
        self.answering = False

    async def run(self) -> None:
        """Serves the socket, from its connect to its close.

        1. The socket is accepted, or closed at once if its page's origin is not allowed.
        2. The session joins `_sessions`, where a shutdown finds it, and serves messages (`_converse`). It gets an ERROR
           instead if the shutdown has begun.
        3. If the client leaves, or `_converse` has closed the socket (Gone), there is nothing more to send.
        4. If a shutdown cancels the session, a client that has its answer gets a normal close. Any other gets an ERROR.
        5. Any other error is logged, unless `_answer` has done so, and sent as an ERROR.
        6. In the end the session leaves `_sessions`, and its parts are dropped.
        """
        await self._receive()  # the connect event
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
            if self._answered:
                await self._close(NORMAL)
            else:
                await self._refuse(ServiceUnavailable(LEAVING))
        except Exception as error:  # noqa: BLE001  the client gets an ERROR; it is logged if the fault is ours
            if not self._logged:
                with logs.line(method=METHOD, route=self._scope["path"]) as log_status:
                    log_status(recorded(error).status_code)
            await self._refuse(error)
        finally:
            _sessions.discard(self)
            self._body.close()

    def interrupt(self) -> None:
        """Ends the session, with an ERROR unless its client has its answer. Call it on the session's event loop."""
        if self._task is not None:
            self._task.cancel()

    async def _converse(self) -> None:
        """Serves the client's messages one after the other, until an error ends the session.

        1. START signs the user in, and begins a message.
        2. BODY, as often as needed, adds a part to the message. It is confirmed.
        3. END begins the turn and sends the frames of its answer. After it the client may send START again.

        Raises BadRequest for any other step, and for BODY or END without START. Raises Gone if the client leaves.
        """
        while True:
            message = await self._next()
            match message.get("step"):
                case "START":
                    await self._start(message.get("token"))
                case "BODY" if self._user_id is None:
                    raise BadRequest("Send START with a token first.")
                case "BODY":
                    self._body.add(message.get("index"), message.get("part"))
                    await self._send_text(PART_RECEIVED)
                case "END" if self._user_id is None:
                    raise BadRequest("Send START with a token first.")
                case "END":
                    await self._answer(message.get("token"))
                case _:
                    raise BadRequest("The step of a message is START, BODY or END.")

    async def _next(self) -> dict[str, Any]:
        """The client's next message: one that came early, or else the next that comes.

        Raises BadRequest if it is no JSON object, if too many came early, or if none came in time: the first, which has
        a token, within HEAD_TIMEOUT seconds, any other within BODY_TIMEOUT. Raises RequestTimeout if the parts of a
        message come below the floor. If none came after an answer, the socket is closed normally. Raises Gone then, and
        if the client has left.
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
        self._received += len(event.get("text") or "")
        if self._user_id is not None and self._floor.is_below(time.monotonic(), self._received):
            raise RequestTimeout(f"The message came at less than {FLOOR_BYTES} characters a second.")
        try:
            message = json.loads(event.get("text") or "")
        except (ValueError, RecursionError):
            message = None
        if not isinstance(message, dict):
            raise BadRequest("A message is a JSON object.")
        return message

    async def _start(self, token: Any) -> None:
        """Signs the user in, and begins a message without parts."""
        caller = await thread_pool.shared().run(lambda: authentication.sign_in(self._request, _text(token)))
        self._known = True
        self._scope["extensions"][TRUST]()
        self._user_id, self._answered = caller.user_id, False
        self._body.close()
        self._body = Body(caller.account)
        self._received, self._floor = 0, Floor()
        await self._send_text(SESSION_STARTED)

    async def _answer(self, token: Any) -> None:
        """Begins the turn and sends its frames.

        1. A thread checks the token and begins the turn (`_begin`).
        2. The frames are sent as they come, while `_receive_early` keeps what the client sends meanwhile.
        3. The log line gets the status: 200, or that of the error. It is 200 if the client leaves: its turn goes on.
        4. After an ERROR the socket is closed. Otherwise the session can begin anew.

        Raises Gone if the client has left or the socket is closed, and ApiError if the turn could not begin.
        """
        with logs.line(method=METHOD, route=self._scope["path"]) as log_status:
            self._logged = self.answering = True
            try:
                subscription = await thread_pool.shared().run(lambda: self._begin(_text(token)))
                self._body.close()
                all_sent = await pump(
                    self._frames(subscription),
                    self._receive_early,
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
        if not all_sent:
            raise Gone
        if isinstance(self._last, Failed):
            await self._close(POLICY_VIOLATION)
            raise Gone
        self._user_id, self._answered, self._logged = None, True, False

    async def _frames(self, subscription: Subscription) -> AsyncGenerator[AsgiMessage, None]:
        """The frames of a turn, as messages of ASGI.

        No frame makes a frontend forget what it shows. So where an answer is told anew, only its end is sent: at the
        end frontends read the conversation.
        """
        self._last = None
        starts_anew = False
        async with contextlib.aclosing(subscription.batches) as batches:
            async for first, batch in batches:
                for _, event in joined(first, batch):
                    starts_anew = starts_anew or (isinstance(event, MessageStart) and self._last is not None)
                    self._last = event
                    if starts_anew and not is_last(event):
                        continue
                    for text in frames.frames_of(event):
                        yield {"type": "websocket.send", "text": text}

    async def _receive_early(self) -> AsgiMessage:
        """Receives while an answer is sent: the disconnect, or already the client's next message, which is kept."""
        event = await self._receive()
        if event["type"] == "websocket.receive" and len(self._early) <= MOST_EARLY:
            self._early.append(event)
        return event

    def _begin(self, token: str) -> Subscription:
        """Begins the turn. Runs on a thread. The caller is the user of END's token, who must be the user of START."""
        caller: Caller = authentication.sign_in(self._request, token)
        if caller.user_id != self._user_id:
            raise BadRequest("END must come from the user who said START.")
        return driver.begin(read_chat_input(parsers.parse(self._body.joined())), actor=caller)

    async def _refuse(self, error: Exception) -> None:
        """Sends an ERROR and closes the socket."""
        with contextlib.suppress(Exception):  # the socket may be gone already
            await self._send_text(frames.error(str(recorded(error).detail)))
            await self._close(POLICY_VIOLATION)

    async def _send(self, message: AsgiMessage) -> None:
        """Sends an ASGI message. Raises Gone if the client has left."""
        try:
            await self._send_raw(message)
        except OSError:  # raised by uvicorn, among others, when the client has left
            raise Gone from None

    async def _send_in_time(self, message: AsgiMessage) -> None:
        """As `_send`, of what `pump` does not watch. A client that takes none of it is let go: else the session would
        wait here, where no time-out of a message holds, for as long as the client takes a little now and then.
        """
        try:
            async with asyncio.timeout(FLOOR_SECONDS):
                await self._send(message)
        except TimeoutError:
            self._scope["extensions"][OUTFLOW].abort()
            raise Gone from None

    async def _close(self, code: int) -> None:
        await self._send_in_time({"type": "websocket.close", "code": code})

    async def _send_text(self, text: str) -> None:
        await self._send_in_time({"type": "websocket.send", "text": text})


def _text(token: Any) -> str:
    if not isinstance(token, str):
        raise BadRequest("START and END need a token.")
    return token


def _is_allowed(origin: str | None) -> bool:
    """Whether pages of this origin may connect. Only browsers send one; for other clients the token alone decides."""
    if origin is None or settings.CORS_ALLOW_ALL_ORIGINS:
        return True
    return origin in settings.CORS_ALLOWED_ORIGINS or origin == settings.PUBLIC_BASE_URL


# ---- All sessions of this process -----------------------------------------------------------------------------------

_sessions: set[Session] = set()
_interrupted = False

OPEN = Gauge("bedrock_chat_websockets_open", "WebSockets that are open.", read=lambda: len(_sessions))


async def serve(scope: Mapping[str, Any], environ: dict[str, Any], receive: Receive, send: Send) -> None:
    """The ASGI application of `/ws`. `environ` is the opening request in WSGI's form."""
    with contextlib.suppress(Gone):  # it may leave before the first message, or as the last one is sent
        await Session(scope, environ, receive, send).run()


def busy() -> int:
    """How many sessions the end of the process waits for: those that are answering; after `interrupt`, all of them."""
    return len(_sessions) if _interrupted else sum(session.answering for session in _sessions)


def interrupt() -> None:
    """Ends the sessions that wait for their client. Those that are sending an answer end with their turn."""
    global _interrupted  # noqa: PLW0603  a process ends once
    _interrupted = True
    for session in list(_sessions):
        if not session.answering:
            session.interrupt()


def abandon() -> None:
    """Ends all sessions that are still open."""
    for session in list(_sessions):
        session.interrupt()
