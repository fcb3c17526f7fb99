"""Answers a request with a Reply: the operations of Bedrock, the log of requests, and `/control/`."""

import sys
import time
import traceback
from collections import OrderedDict, deque
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from typing import Any
from urllib.parse import unquote

import orjson

from bedrock_chat.bedrock.catalog import Model
from bedrock_chat.bedrock.emulator import agents, answers, embeddings, guardrails, replies, shapes, validation
from bedrock_chat.bedrock.emulator.guardrails import Guardrails, Intervention
from bedrock_chat.bedrock.emulator.model_ids import model_of
from bedrock_chat.bedrock.emulator.refusals import Refusal, invalid
from bedrock_chat.bedrock.emulator.replies import Reply
from bedrock_chat.bedrock.emulator.rules import tools
from bedrock_chat.bedrock.emulator.script import Script, ScriptError, fields_from, parse
from bedrock_chat.bedrock.emulator.usage import PromptCache, Usage, output_tokens

OPERATIONS = {"converse": "Converse", "converse-stream": "ConverseStream"}
LOGGED_REQUESTS = 1_000
LOGGED_BYTES = 64 * 1024 * 1024
COUNTED_PROMPTS = 10_000


@dataclass(slots=True)
class LoggedRequest:
    """A call to a model that answers or makes vectors, a knowledge base or an agent, or one about guardrails.

    `outcome` is running, done (the whole reply was sent) or left (the peer closed before). `usage` is what the reply
    says that the call used, at its end; None for one that says nothing of it.
    """

    path: str
    operation: str
    model: str
    raw: bytes
    at: float = field(default_factory=time.time)
    status: int = 0
    outcome: str = "running"
    usage: dict[str, Any] | None = None

    def wire(self) -> dict[str, Any]:
        try:
            body = orjson.loads(self.raw)
        except ValueError:
            body = self.raw.decode("utf-8", "replace")
        fields = ("path", "operation", "model", "at", "status", "outcome", "usage")
        return {name: getattr(self, name) for name in fields} | {"body": body}


class Bedrock:
    """The state of the service. It is in memory and bounded. It is not thread-safe: one event loop owns it."""

    def __init__(self) -> None:
        self.log: deque[LoggedRequest] = deque()
        self._logged_bytes = 0
        self._default: dict[str, Any] = {}
        self._static: dict[str, Reply] = {}
        self._queue: deque[dict[str, Any]] = deque()
        self._failures: OrderedDict[bytes, int] = OrderedDict()
        self._cache = PromptCache()
        self._guardrails = Guardrails()
        self._agents = agents.Content()
        self._troubles: list[dict[str, Any]] = []
        self._embeddings = embeddings.Plan()

    def answer(self, method: str, path: str, body: bytes) -> tuple[Reply, LoggedRequest | None]:
        """The reply to a request, and its entry in the log. `path` is percent-encoded, as in the request line."""
        try:
            if path.startswith("/control/") or path == "/":
                return self._control(method, path, body), None
            return self._operation(method, path, body)
        except Exception:  # noqa: BLE001  a mistake in the emulator must not leave the peer without a reply
            traceback.print_exc(file=sys.stderr)
            mistake = Refusal("InternalServerException", "The emulator made a mistake; its stderr has the traceback.")
            return replies.refused(mistake), None

    # ---- Bedrock ----

    def _operation(self, method: str, path: str, body: bytes) -> tuple[Reply, LoggedRequest | None]:
        if path.startswith(guardrails.PATHS) and (call := guardrails.call_of(method, path, _object(body))):
            return self._of_guardrails(call, path, body)
        if path.startswith(agents.PATHS) and (agent_call := agents.call_of(method, path, _object(body))):
            return self._of_agents(agent_call, path, body)
        resource, _, operation = path.partition("?")[0].rpartition("/")
        if method == "POST" and operation == "invoke" and resource.startswith("/model/"):
            return self._of_embeddings(unquote(resource.removeprefix("/model/")), path, body)
        if method != "POST" or operation not in OPERATIONS or not resource.startswith("/model/"):
            return replies.refused(Refusal("UnknownOperationException", f"There is no {method} {path} here.")), None
        model_id = unquote(resource.removeprefix("/model/"))
        entry = self._logged(LoggedRequest(path, OPERATIONS[operation], model_id, body))
        if not self._queue and (static := self._static.get(entry.operation)):
            reply = static
        else:
            try:
                reply = self._reply(entry)
            except Refusal as refusal:
                in_stream = refusal.in_stream and entry.operation == "ConverseStream"
                reply = replies.refused_in_stream(refusal) if in_stream else replies.refused(refusal)
        entry.status = reply.status
        return reply, entry

    def _of_guardrails(self, call: guardrails.Call, path: str, body: bytes) -> tuple[Reply, LoggedRequest]:
        """The reply to a call about guardrails. With `wait` and `cut` it takes effect before the reply goes wrong."""
        entry = self._logged(LoggedRequest(path, call.operation, "", body))
        trouble = self._trouble(call.operation)
        try:
            if code := trouble.get("fault"):
                raise Refusal(code, trouble.get("message"))
            status, document = self._guardrails.answer(call)
            reply = replies.as_json(document, status, wait=trouble.get("wait", 0.0))
            if trouble.get("cut"):
                reply = Reply(((0.0, b""),), 0, keep=False)
        except Refusal as refusal:
            reply = replies.refused(refusal)
        entry.status = reply.status
        return reply, entry

    def _of_agents(self, call: agents.Call, path: str, body: bytes) -> tuple[Reply, LoggedRequest]:
        """The reply to a call of a knowledge base or an agent."""
        entry = self._logged(LoggedRequest(path, call.operation, "", body))
        trouble = self._trouble(call.operation)
        try:
            if code := trouble.get("fault"):
                raise Refusal(code, trouble.get("message"))
            reply = agents.answer(call, self._agents)
            if trouble.get("cut"):
                reply = Reply(((0.0, b""),), 0, keep=False)
        except Refusal as refusal:
            reply = replies.refused(refusal)
        if wait := trouble.get("wait"):
            (_, first), *others = reply.steps
            reply = replace(reply, steps=((float(wait), first), *others))
        entry.status = reply.status
        return reply, entry

    def _of_embeddings(self, model_id: str, path: str, body: bytes) -> tuple[Reply, LoggedRequest]:
        """The reply to a call for vectors. InvokeModel is there for the models alone that make them."""
        entry = self._logged(LoggedRequest(path, embeddings.OPERATION, model_id, body))
        try:
            if not embeddings.is_one(model_id):
                model_of(model_id)
                raise invalid("This model is called with Converse here.")
            reply = embeddings.answer(model_id, _parsed(body), self._embeddings)
        except Refusal as refusal:
            reply = replies.refused(refusal)
        entry.status = reply.status
        return reply, entry

    def _trouble(self, operation: str) -> dict[str, Any]:
        """The next one that was scripted for an operation, which is used up by this."""
        for trouble in self._troubles:
            if trouble["operation"] == operation:
                trouble["times"] = trouble.get("times", 1) - 1
                if trouble["times"] <= 0:
                    self._troubles.remove(trouble)
                return trouble
        return {}

    def _reply(self, entry: LoggedRequest) -> Reply:
        """The reply to a call of a model. Raises Refusal.

        1. Take the script that was sent for the next request, else the default one. A static one needs no more.
        2. Check the body against the service model, Bedrock's limits and the model's restrictions.
        3. Join the script to the prompt's markers; the script's fields go first.
        4. Fail before the first byte if the script says so.
        5. Otherwise answer, whole or streamed, with the usage. A guardrail may put its own text in the answer's place.
        """
        overrides = self._queue.popleft() if self._queue else self._default
        if overrides.get("static"):
            return _static_reply(entry.operation, Script(**overrides))
        body = _parsed(entry.raw)
        model = model_of(entry.model)
        streaming = entry.operation == "ConverseStream"
        shapes.check(entry.operation, body)
        validation.check(body, model, streaming=streaming, size=len(entry.raw))
        prompt = answers.Prompt.of(body["messages"])
        intervention = self._guardrails.intervention(body, prompt.question)
        script = replace(parse(prompt.question, prompt.round), **overrides)
        if script.results_alone:
            tools.check_alone(body["messages"])
        script = self._counted(script, entry)
        if reply := replies.before_any_byte(script):
            return reply
        answer = answers.intervened(intervention) if intervention else answers.answer(script, prompt, body, model)
        if not intervention:
            self._guardrails.check_answer(body, "".join(block.get("text", "") for block in answer.blocks))
        usage = self._usage(script, answer, body, model, intervention)
        if not (script.fault or script.cut or (script.end and streaming)):
            entry.usage = usage.wire()
        if streaming:
            return replies.streamed(script, answers.events(answer, usage, _latency(script)))
        deltas = sum(kind == "contentBlockDelta" for kind, _ in answers.events(answer, usage, 0))
        return replies.whole(script, answers.response(answer, usage, _latency(script)), deltas)

    def _usage(
        self,
        script: Script,
        answer: answers.Answer,
        body: Mapping[str, Any],
        model: Model | None,
        intervention: Intervention | None,
    ) -> Usage:
        if script.usage:
            return Usage(*script.usage)
        if intervention and intervention.of_question:
            return Usage(0, 0)  # the model was not asked
        written = output_tokens(answer.blocks) if answer.blocks and answer.words is None else answer.words or 0
        return self._cache.account(model, body, max(1, answer.thought + written))

    def _counted(self, script: Script, entry: LoggedRequest) -> Script:
        """With `times:N`, the first N of equal requests fail, the next one succeeds, and counting begins anew."""
        if script.times is None or not script.fails:
            return script
        key = blake2b(entry.model.encode() + entry.raw, digest_size=16).digest()
        count = self._failures.pop(key, 0)
        if count >= script.times:
            return script.succeeding()
        self._failures[key] = count + 1
        while len(self._failures) > COUNTED_PROMPTS:
            self._failures.popitem(last=False)
        return script

    def _logged(self, entry: LoggedRequest) -> LoggedRequest:
        self.log.append(entry)
        self._logged_bytes += len(entry.raw)
        while len(self.log) > LOGGED_REQUESTS or (self._logged_bytes > LOGGED_BYTES and len(self.log) > 1):
            self._logged_bytes -= len(self.log.popleft().raw)
        return entry

    # ---- Control ----

    def _control(self, method: str, path: str, body: bytes) -> Reply:
        match method, path.partition("?")[0]:
            case "GET", "/":
                return replies.as_json({"service": "Bedrock emulator", "manual": "docs/EMULATOR.md"})
            case "GET", "/control/requests":
                return replies.as_json([entry.wire() for entry in self.log])
            case "DELETE", "/control/requests":
                self._clear_log()
            case "POST", "/control/script":
                try:
                    self._set_script(orjson.loads(body or b"{}"))
                except ValueError as error:  # ScriptError, or no JSON
                    return replies.as_json({"message": str(error)}, 400)
            case "GET", "/control/guardrails":
                return replies.as_json(self._guardrails.listed())
            case "POST", "/control/guardrails":
                document = _object(body)
                self._troubles = list(document.get("troubles", ()))
                self._guardrails.control(document)
            case "POST", "/control/agents":
                document = _object(body)
                self._troubles = list(document.get("troubles", ()))
                self._agents.control(document)
            case "GET", "/control/embeddings":
                return replies.as_json(self._embeddings.served.wire())
            case "POST", "/control/embeddings":
                self._embeddings.control(_object(body))
            case "POST", "/control/reset":
                self._clear_log()
                self._guardrails.clear()
                self._troubles = []
                self._embeddings = embeddings.Plan()
                self._agents = agents.Content()
                self._queue.clear()
                self._failures.clear()
                self._cache.clear()
                self._set_default({})
            case _:
                return replies.as_json({"message": f"There is no {method} {path} here; see docs/EMULATOR.md."}, 404)
        return replies.as_json(None)

    def _clear_log(self) -> None:
        self.log.clear()
        self._logged_bytes = 0

    def _set_script(self, document: Any) -> None:
        """Sets one script for all later requests, or with `times` for the next N. A list is one for each of them."""
        if isinstance(document, list):
            self._queue.extend([fields_from(script) for script in document])
            return
        if not isinstance(document, dict):
            raise ScriptError("A script is a JSON object, or a list of them.")
        times = document.pop("times", None)
        fields = fields_from(document)
        if times is None:
            self._set_default(fields)
        elif isinstance(times, int) and 0 <= times <= 10_000:
            self._queue.extend([fields] * times)
        else:
            raise ScriptError("times: must be a count of requests, at most 10,000.")

    def _set_default(self, fields: dict[str, Any]) -> None:
        self._default = fields
        script = Script(**fields)
        self._static = {name: _static_reply(name, script) for name in OPERATIONS.values()} if script.static else {}


def _parsed(raw: bytes) -> Any:
    try:
        return orjson.loads(raw)
    except ValueError:
        raise Refusal("SerializationException") from None


def _object(raw: bytes) -> dict[str, Any]:
    """A body as an object; an empty one where it is none."""
    try:
        document = orjson.loads(raw)
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}


def _latency(script: Script) -> int:
    return max(1, round(script.wait * 1000))


def _static_reply(operation: str, script: Script) -> Reply:
    """One reply for all requests, which are not even read, so the emulator costs a benchmark as little as possible."""
    prompt = answers.Prompt("static", 0, continues=False, kinds=frozenset(), tool_uses=0)
    answer = answers.answer(script, prompt, {}, None)
    usage = Usage(*(script.usage or (11, 7)))
    if operation == "ConverseStream":
        return replies.streamed(script, answers.events(answer, usage, _latency(script)))
    deltas = sum(kind == "contentBlockDelta" for kind, _ in answers.events(answer, usage, 0))
    return replies.whole(script, answers.response(answer, usage, _latency(script)), deltas)
