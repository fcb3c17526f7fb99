"""Calls to models in the metrics and traces: how long they took, how they ended, what Bedrock refused."""

from typing import Self

from bedrock_chat.bedrock.events import Closed
from bedrock_chat.bedrock.faults import DailyQuotaExceeded, ModelFault, Throttled
from bedrock_chat.bedrock.request import ModelRequest
from bedrock_chat.metrics.instruments import LONG_SECONDS, Counter, Histogram
from bedrock_chat.tracing import spans
from bedrock_chat.tracing.spans import Span

CALLS = Counter(
    "bedrock_chat_model_calls_total", "Calls to models that ended: answered, failed, interrupted.", ("model", "outcome")
)
DURATION = Histogram(
    "bedrock_chat_model_call_duration_seconds",
    "How long answered calls took, waits between tries included: streamed or whole.",
    ("model", "mode"),
    buckets=LONG_SECONDS,
)
FIRST_TOKEN = Histogram(
    "bedrock_chat_model_first_token_seconds",
    "How long streamed answers took to their first token, waits between tries included.",
    ("model",),
    buckets=LONG_SECONDS,
)
FAULTS = Counter("bedrock_chat_model_faults_total", "Tries that failed, by the kind of fault.", ("model", "fault"))
THROTTLES = Counter("bedrock_chat_model_throttles_total", "Tries that Bedrock throttled.", ("model",))
RETRIES = Counter("bedrock_chat_model_retries_total", "Tries after a fault that passes by itself.", ("model",))


class Call:
    """A call that runs. The turn's round is its span's `parent`. `model_id` is what is invoked."""

    def __init__(
        self, model_key: str, model_id: str, region: str, *, operation: str, mode: str, parent: Span | None = None
    ) -> None:
        self.model_key = model_key
        self.model_id = model_id
        self.region = region
        self._mode = mode
        self._ended = False
        self._span = spans.begin(
            f"{operation} {model_key}",
            {
                "gen_ai.operation.name": operation,
                "gen_ai.provider.name": "aws.bedrock",
                "gen_ai.request.model": model_key,
                "cloud.region": region,
            },
            parent=parent,
            kind=spans.CLIENT,
        )

    @classmethod
    def of(cls, request: ModelRequest, *, stream: bool, parent: Span | None) -> Self:
        """A call for a model's answer."""
        target = request.target
        mode = "streamed" if stream else "whole"
        return cls(request.model.key, target.model_id, target.region, operation="chat", mode=mode, parent=parent)

    def failed_try(self, fault: ModelFault) -> None:
        """A try failed. Its fault is told by the name of its class, which comes from a closed list."""
        FAULTS.add(self.model_key, type(fault).__name__)
        if isinstance(fault, Throttled | DailyQuotaExceeded):
            THROTTLES.add(self.model_key)

    def retries(self, fault: ModelFault, seconds: float) -> None:
        """It is tried again, after so many seconds."""
        RETRIES.add(self.model_key)
        self._span.happened("retry", {"error.type": type(fault).__name__, "seconds": seconds})

    def answered(self, closed: Closed) -> None:
        CALLS.add(self.model_key, "answered")
        DURATION.observe(closed.latency_ms / 1000, self.model_key, self._mode)
        if closed.first_token_ms is not None:
            FIRST_TOKEN.observe(closed.first_token_ms / 1000, self.model_key)
        usage = closed.usage
        self._span.note(
            {
                "gen_ai.usage.input_tokens": usage.input_tokens if usage else None,
                "gen_ai.usage.output_tokens": usage.output_tokens if usage else None,
                "gen_ai.response.finish_reasons": (closed.stop_reason,),
                "bedrock_chat.first_token_ms": closed.first_token_ms,
            }
        )
        self._end("")

    def embedded(self, seconds: float, input_tokens: int) -> None:
        """The texts of a call for vectors have got them."""
        CALLS.add(self.model_key, "answered")
        DURATION.observe(seconds, self.model_key, self._mode)
        self._span.note({"gen_ai.usage.input_tokens": input_tokens})
        self._end("")

    def interrupted(self) -> None:
        """A user's stop, the end of the process, or a listener's end."""
        CALLS.add(self.model_key, "interrupted")
        self._end("")

    def failed(self, error: BaseException) -> None:
        CALLS.add(self.model_key, "failed")
        self._end(type(error).__name__)

    def end(self) -> None:
        """Whoever read the events has stopped doing so, unless the call has ended."""
        if not self._ended:
            self.interrupted()

    def _end(self, error: str) -> None:
        self._ended = True
        self._span.end(error)
