"""Texts become vectors. What was paid for is returned beside a fault: a fault never throws vectors away.

Faults, retries and `Retry-After` are those of every model (`retrying`). A process makes at most AT_ONCE calls at a time
and, for CALM_SECONDS after a throttle, one.
"""

import math
import re
import threading
import time
from collections.abc import Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any, Final

import orjson
from django.conf import settings

from bedrock_chat.bedrock import clients, embedding_models, estimates, faults, retrying
from bedrock_chat.bedrock.embedding_models import COHERE, EmbeddingModel
from bedrock_chat.bedrock.embedding_places import NoPlace, Places
from bedrock_chat.bedrock.events import Retrying
from bedrock_chat.bedrock.measuring import Call
from bedrock_chat.process.interruption import Interrupted, Interruption
from bedrock_chat.resilience.deadlines import hang_up_after

AT_ONCE: Final = 8
CALM_SECONDS: Final = 30.0
DOCUMENT: Final = "search_document"
QUERY: Final = "search_query"
MOST_BATCH: Final = 96
"""The most texts that one ledger row, one reservation and one interruption are about."""
MOST_ANSWER_BYTES: Final = 16 * 1024 * 1024
TOKENS_HEADER: Final = "x-amzn-bedrock-input-token-count"
TOO_LONG: Final = re.compile(
    r"expected maxlength|too long|too many\b.*\btokens"
    r"|\btokens?\b.*\b(exceed|maximum|limit|longer|at most|less than)"
    r"|\b(exceed|maximum|limit|longer)\w*\b.*\btokens?\b",
    re.IGNORECASE | re.DOTALL,
)
"""What a sentence has in it by which Bedrock refuses a text for its characters ("expected maxLength: 2048, actual:
2449"), or Cohere for its tokens, of which several wordings are known. For what is said of prompts as well, there is
`faults.TooLong`."""

PLACES: Final = Places(AT_ONCE, CALM_SECONDS)


@dataclass(frozen=True, slots=True)
class Embedded:
    """What became of some texts.

    `vectors` are in the texts' order; None for a text without one: it was blank, it is among `too_long` (indexes of
    texts that the model calls too long), or the calls ended before it, by `fault` or because they were `interrupted`.

    `calls` are those that have ended or whose fate is not known, without the tries that were refused and made again.
    `input_tokens` are what these may be billed for; `estimated` where Bedrock did not say. `latency_ms` is the time
    from the first call to the last one's end, waits included.
    """

    vectors: tuple[list[float] | None, ...]
    too_long: frozenset[int]
    input_tokens: int
    calls: int
    estimated: bool
    latency_ms: int
    fault: faults.ModelFault | None
    interrupted: bool = False

    @property
    def is_whole(self) -> bool:
        """Whether nothing cut the calls off."""
        return self.fault is None and not self.interrupted


def model(key: str) -> EmbeddingModel:
    """The model with this wire key, in this server's region. Raises UnknownEmbeddingModel."""
    return replace(embedding_models.find(key), region=settings.BEDROCK_REGION)


def tokens_of(texts: Sequence[str]) -> int:
    """The likely tokens of some texts."""
    return sum(map(estimates.text_tokens, texts))


def embed_documents(
    model: EmbeddingModel, texts: Sequence[str], *, interruption: Interruption, deadline: float
) -> Embedded:
    """The vectors of at most MOST_BATCH texts that will be searched for. `deadline` is a moment of `time.monotonic`.

    A fault ends the calls: what has been answered by then stays. Nothing is raised for a fault or an interruption.
    """
    if len(texts) > MOST_BATCH:
        raise ValueError(f"{len(texts)} texts are more than {MOST_BATCH}.")
    return _Embedding(model, texts, DOCUMENT, interruption, deadline).run()


def embed_query(model: EmbeddingModel, text: str, *, interruption: Interruption, deadline: float) -> Embedded:
    """The vector of a question, which goes before documents where calls wait for each other. As `embed_documents`."""
    return _Embedding(model, [text], QUERY, interruption, deadline).run()


class _Embedding:
    """Some texts that get their vectors. Several threads make its calls, and none touches the database."""

    def __init__(
        self, model: EmbeddingModel, texts: Sequence[str], purpose: str, interruption: Interruption, deadline: float
    ) -> None:
        self._model = model
        self._texts = texts
        self._purpose = purpose
        self._interruption = interruption
        self._deadline = deadline
        self._lock = threading.Lock()
        self._vectors: list[list[float] | None] = [None] * len(texts)
        self._too_long: set[int] = set()
        self._input_tokens = 0
        self._calls = 0
        self._estimated = False
        self._fault: faults.ModelFault | None = None

    def run(self) -> Embedded:
        started = time.monotonic()
        wanted = [number for number, text in enumerate(self._texts) if text.strip()]
        if self._purpose == DOCUMENT:
            self._too_long = {number for number in wanted if len(self._texts[number]) > self._model.most_characters}
            wanted = [number for number in wanted if number not in self._too_long]
        size = self._model.batch
        batches = [wanted[start : start + size] for start in range(0, len(wanted), size)]
        with self._interruption.inner() as switch:
            seconds = max(0.0, self._deadline - started)
            with hang_up_after(seconds, switch.expire):
                self._embed_all(batches, switch)
            interrupted = switch.requested and not switch.expired
        return Embedded(
            vectors=tuple(self._vectors),
            too_long=frozenset(self._too_long),
            input_tokens=self._input_tokens,
            calls=self._calls,
            estimated=self._estimated,
            latency_ms=int((time.monotonic() - started) * 1000),
            fault=self._fault,
            interrupted=interrupted,
        )

    def _embed_all(self, batches: list[list[int]], switch: Interruption) -> None:
        if len(batches) <= 1:
            for batch in batches:
                self._embed(batch, switch)
            return
        workers = min(AT_ONCE, len(batches))
        with ThreadPoolExecutor(workers, thread_name_prefix="embedding") as pool:
            for future in [pool.submit(self._embed, batch, switch) for batch in batches]:
                future.result()

    def _embed(self, batch: list[int], switch: Interruption) -> None:
        """Calls the model for some texts. Where it calls some of them too long, their halves are asked for apart."""
        if self._fault is not None or switch.requested:
            if switch.expired:
                self._fail(faults.TimedOut(code="TotalTimeout"))
            return
        with switch.inner() as call_switch:
            call = _Call(self._model, [self._texts[number] for number in batch], self._purpose, call_switch)
            try:
                answer = call.run(self._deadline)
            except faults.ModelFault as fault:
                self._count(call)
                if not _is_too_long(fault):
                    if not call_switch.requested or call_switch.expired:
                        self._fail(fault)
                    return
            except Interrupted:
                self._count(call)
                if call_switch.expired:
                    self._fail(faults.TimedOut(code="TotalTimeout"))
                return
            else:
                with self._lock:
                    self._calls += 1
                    self._input_tokens += answer.input_tokens
                    self._estimated |= answer.estimated
                    for number, vector in zip(batch, answer.vectors, strict=True):
                        self._vectors[number] = vector
                return
        if len(batch) == 1:
            with self._lock:
                self._too_long.update(batch)
            return
        half = len(batch) // 2
        self._embed(batch[:half], switch)
        self._embed(batch[half:], switch)

    def _count(self, call: "_Call") -> None:
        """Counts a call that gave no vectors. What may have been at work is taken to be billed."""
        with self._lock:
            self._calls += call.was_sent
            if call.may_be_billed:
                self._input_tokens += tokens_of(call.texts)
                self._estimated = True

    def _fail(self, fault: faults.ModelFault) -> None:
        with self._lock:
            self._fault = self._fault or fault


@dataclass(frozen=True, slots=True)
class _Answer:
    vectors: list[list[float]]
    input_tokens: int
    estimated: bool


class _Call:
    """One call for vectors, with its tries."""

    def __init__(self, model: EmbeddingModel, texts: list[str], purpose: str, switch: Interruption) -> None:
        self.texts = texts
        self.was_sent = False
        self.may_be_billed = False
        self._model = model
        self._switch = switch
        self._is_query = purpose == QUERY
        self._body = orjson.dumps(_body(model, texts, purpose))
        self._measured = Call(model.key, model.model_id, model.region, operation="embeddings", mode="whole")

    def run(self, deadline: float) -> _Answer:
        """Raises a ModelFault, and Interrupted. `was_sent` and `may_be_billed` are true to what happened, also then."""
        started = time.monotonic()
        until = min(started + settings.MODEL_RETRY_SECONDS, deadline)
        tries = retrying.tried(
            lambda: self._once(until, deadline), measured=self._measured, interrupt=self._switch, until=until
        )
        try:
            answer = next(item for item in tries if not isinstance(item, Retrying))
        except NoPlace as refusal:
            self._measured.failed(refusal.fault)
            raise refusal.fault from None
        except BaseException as error:
            if self._switch.requested and not self._switch.expired:
                self._measured.interrupted()
            else:
                self._measured.failed(error)
            raise
        finally:
            tries.close()
        self._measured.embedded(time.monotonic() - started, answer.input_tokens)
        return answer

    def _once(self, until: float, deadline: float) -> Generator[_Answer]:
        """One try. It has its place only while it is made, so that what waits to be tried again keeps nobody out."""
        with PLACES.one(self._switch, until=until, deadline=deadline, is_urgent=self._is_query):
            try:
                answer = self._send()
            except faults.Throttled as fault:
                PLACES.throttled(fault)
                raise
        retrying.BEDROCK.answered()
        yield answer

    def _send(self) -> _Answer:
        try:
            client = clients.bedrock_runtime()
            with self._switch.of_this_thread():
                response = client.invoke_model(
                    modelId=self._model.model_id,
                    body=self._body,
                    contentType="application/json",
                    accept="application/json",
                )
            body = response["body"]
            try:
                raw = body.read(MOST_ANSWER_BYTES + 1)
            finally:
                clients.release(body)
            headers = response["ResponseMetadata"]["HTTPHeaders"]
            answer = _answer(self._model, self.texts, raw, headers.get(TOKENS_HEADER, ""))
        except Exception as error:
            fault = clients.fault_of(error)
            self.was_sent |= self._switch.was_sent
            self.may_be_billed |= self._switch.was_sent and _may_be_billed(fault)
            if fault is None:
                raise
            if self._switch.expired:
                raise faults.TimedOut(code="TotalTimeout") from error
            if fault is error:
                raise
            raise fault from error
        self.was_sent = True
        return answer


def _body(model: EmbeddingModel, texts: list[str], purpose: str) -> dict[str, Any]:
    if model.provider == "cohere":
        # What is too long is refused where it is a document, so that nothing is cut unseen.
        truncate = "NONE" if purpose == DOCUMENT else "END"
        if purpose == QUERY:
            texts = [text[: model.most_characters] for text in texts]
        return {"texts": texts, "input_type": purpose, "truncate": truncate}
    [text] = texts
    return {"inputText": text[: model.most_characters], "dimensions": model.dimensions, "normalize": True}


def _answer(model: EmbeddingModel, texts: list[str], raw: bytes, tokens_header: str) -> _Answer:
    """Reads an answer. Raises Unreadable for one that does not hold a vector of the model's size for each text."""
    if len(raw) > MOST_ANSWER_BYTES:
        raise faults.Unreadable
    try:
        document = orjson.loads(raw)
    except ValueError:
        raise faults.Unreadable from None
    if not isinstance(document, dict):
        raise faults.Unreadable
    tokens: Any = document.get("inputTextTokenCount")
    vectors: Any = document.get("embeddings") if model.key == COHERE else [document.get("embedding")]
    if isinstance(vectors, dict):
        vectors = vectors.get("float")
    if not isinstance(vectors, list) or len(vectors) != len(texts):
        raise faults.Unreadable
    if not all(_is_vector(vector, model.dimensions) for vector in vectors):
        raise faults.Unreadable
    if tokens_header.isascii() and tokens_header.isdigit():
        tokens = int(tokens_header)
    if isinstance(tokens, int) and not isinstance(tokens, bool) and tokens >= 0:
        return _Answer(vectors, tokens, estimated=False)
    return _Answer(vectors, tokens_of(texts), estimated=True)


def _is_vector(vector: Any, dimensions: int) -> bool:
    if not isinstance(vector, list) or len(vector) != dimensions:
        return False
    return set(map(type, vector)) <= {float, int} and math.isfinite(sum(vector)) and any(vector)


def _is_too_long(fault: faults.ModelFault) -> bool:
    return isinstance(fault, faults.TooLong) or (
        isinstance(fault, faults.Invalid) and TOO_LONG.search(str(fault.detail)) is not None
    )


def _may_be_billed(fault: faults.ModelFault | None) -> bool:
    """Whether the model may have worked for a call without an answer: nobody has said that it did not."""
    return fault is None or isinstance(fault, faults.TimedOut | faults.ConnectionCut | faults.Unreadable)
