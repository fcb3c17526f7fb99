"""`left_out` says of every model what `compose` does: which chosen parameters a request does not have as chosen."""

import os
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bedrock_chat.bedrock.catalog import MODELS, Model, Target
from bedrock_chat.bedrock.request import NO_PARAMETERS, Parameters, compose, left_out
from tests.bedrock.boto import user

SLOW = bool(os.environ.get("SLOW"))

PARAMETERS = st.builds(
    Parameters,
    max_tokens=st.sampled_from([None, 1, 4096, 8192, 8193, 10**6]),
    temperature=st.sampled_from([None, 0.0, 0.5, 1.0, 1.5, 2.0]),
    top_p=st.sampled_from([None, 0.0, 0.5, 0.95, 0.999, 1.0]),
    top_k=st.sampled_from([None, 0, 1, 128, 129, 250, 500, 501]),
    stop_sequences=st.sampled_from([None, (), ("STOP",), tuple(map(str, range(11))), tuple(map(str, range(2500)))]),
    reasoning_budget=st.sampled_from([None, 1024, 100_000]),
)


def sent(model: Model, chosen: Parameters, *, thinks: bool) -> dict[str, Any]:
    """The parameters of a request as the wire has them, wherever they stand in it."""
    request = compose(
        model, Target(model.bedrock_id, "us-east-1"), [user({"text": "hello"})], parameters=chosen, reasoning=thinks
    )
    values = dict(request.body["inferenceConfig"])
    top_k: Any = request.body.get("additionalModelRequestFields", {})
    for step in model.top_k_path or ():
        top_k = top_k.get(step) if isinstance(top_k, dict) else None
    thinking = request.body.get("additionalModelRequestFields", {}).get("thinking", {})
    return {**values, "topK": top_k if model.top_k_path else None, "budgetTokens": thinking.get("budget_tokens")}


@settings(max_examples=400 if SLOW else 60, derandomize=True, deadline=None, database=None)
@given(chosen=PARAMETERS, thinks=st.booleans())
@example(chosen=NO_PARAMETERS, thinks=False)
@example(chosen=Parameters(4096, 1.0, 0.999, 250, (), 1024), thinks=True)
def test_what_is_left_out_is_what_the_request_does_not_have(chosen: Parameters, thinks: bool) -> None:
    for model in MODELS.values():
        is_thinking = thinks and model.reasoning.fields is not None
        has = sent(model, chosen, thinks=thinks)
        wanted = {
            "temperature": chosen.temperature,
            "topP": chosen.top_p,
            "topK": chosen.top_k,
            "stopSequences": list(chosen.stop_sequences or ()) or None,
            "budgetTokens": chosen.reasoning_budget if is_thinking else None,
        }
        expected = {name for name, value in wanted.items() if value is not None and has.get(name) != value}
        # Thinking takes room beyond what was chosen, which the answer keeps unless the model cannot write as much.
        if chosen.max_tokens is not None and chosen.max_tokens > (model.max_output_tokens or chosen.max_tokens):
            expected.add("maxTokens")
            assert has["maxTokens"] == model.max_output_tokens
        assert set(left_out(model, chosen, thinks=is_thinking)) == expected, model.key


@pytest.mark.parametrize("key", sorted(MODELS))
def test_of_nothing_that_was_chosen_nothing_is_left_out(key: str) -> None:
    for thinks in (False, MODELS[key].reasoning.fields is not None):
        assert left_out(MODELS[key], NO_PARAMETERS, thinks=thinks) == []
