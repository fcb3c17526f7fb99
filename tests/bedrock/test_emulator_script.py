"""The markers' grammar: a marker that parses is part of the script, and one that does not parse is text."""

import math

import pytest

from bedrock_chat.bedrock.emulator.script import AFTER_ALL, Script, ScriptError, ToolCall, fields_from, parse


@pytest.mark.parametrize(
    ("prompt", "script"),
    [
        ("hello", Script()),
        ("[[max_tokens]]", Script(text="This answer stops", stop="max_tokens")),
        ("please [[empty]] now", Script(text="")),
        ("[[trail]]", Script(text="Trailing space and newline \n")),
        ("[[validation]]", Script(fault="ValidationException")),
        ("[[denied]]", Script(fault="AccessDeniedException")),
        ("[[throttle]]", Script(fault="ThrottlingException")),
        ("[[throttle:2]]", Script(fault="ThrottlingException", times=2)),
        ("[[streamerror]]", Script(fault="ModelStreamErrorException", after=AFTER_ALL)),
        ("[[fault:modelTimeoutException]]", Script(fault="ModelTimeoutException")),
        ("[[fault:InternalServerException:after:3]]", Script(fault="InternalServerException", after=3)),
        (
            "[[fault:InternalServerException:after:3:times:1]]",
            Script(fault="InternalServerException", after=3, times=1),
        ),
        ("[[cut]]", Script(cut=True)),
        ("[[cut:after:0]]", Script(cut=True, after=0)),
        ("[[silence]]", Script(silence=math.inf)),
        ("[[silence:1.5:after:2]]", Script(silence=1.5, after=2)),
        ("[[silence:after:2]]", Script(silence=math.inf, after=2)),
        ("[[end]]", Script(end=True)),
        ("[[wait:0.25]][[pace:2]] [[words:40]]", Script(wait=0.25, pace=2.0, words=40)),
        ("[[reasoning]][[redacted]]", Script(reasoning=True, redacted=True)),
        ("[[guardrail]]", Script(guardrail=True)),
        ("[[stop:content_filtered]]", Script(stop="content_filtered")),
        ("[[tool:weather]]", Script(tools=(ToolCall("weather", {}),))),
        ('[[tool:a:{"x":[[1]]}]] [[tool:b:{}]]', Script(tools=(ToolCall("a", {"x": [[1]]}), ToolCall("b", {})))),
        ('[[tool:a:{"x":"[[cut]]"}]] [[words:2]]', Script(words=2, tools=(ToolCall("a", {"x": "[[cut]]"}),))),
        ('[[use:{"name":"bad name","id":"t 1"}]]', Script(tools=(ToolCall("bad name", {}, "t 1"),))),
        ('[[use:{"name":"a","raw":"{\\"x\\": "}]]', Script(tools=(ToolCall("a", {}, None, '{"x": '),))),
        ('[[use:{"name":"a","input":[1]}]]', Script(tools=(ToolCall("a", [1]),))),
        ("[[say:Wait a moment.]]", Script(text="Wait a moment.")),
        ("[[say:]]", Script(text="")),
        ("[[results_alone]]", Script(results_alone=True)),
    ],
)
def test_a_marker_is_parsed(prompt: str, script: Script) -> None:
    assert parse(prompt) == script


@pytest.mark.parametrize(
    "prompt",
    [
        "[[nonsense]]",
        "[[fault:NoSuchException]]",
        "[[fault]]",
        "[[wait]]",
        "[[wait:soon]]",
        "[[words:-1]]",
        "[[max_tokens:5]]",
        "[[cut:after]]",
        "[[silence:1:2:3]]",
        "[[tool:a:{]]",
        '[[tool:a:{"x":123456789012345678901234567890}]]',
        '[[tool:a:{"x":"\\ud800"}]]',
        f"[[tool:a:{'[' * 100_000}]]",
        "[[tool:a:[1]]]",
        '[[tool:a:{"x":1}]',
        "[[use]]",
        "[[use:{}]]",
        '[[use:{"name":1}]]',
        '[[use:{"name":"a","colour":"red"}]]',
        "[ [max_tokens] ]",
        "[[MAX_TOKENS]]",
    ],
)
def test_what_does_not_parse_is_text(prompt: str) -> None:
    assert parse(prompt) == Script()


def test_then_parts_a_prompt_into_rounds() -> None:
    prompt = "[[tool:a]] [[then]] [[tool:b]] [[then]] [[words:2]]"
    assert [parse(prompt, number).tools for number in range(3)] == [(ToolCall("a", {}),), (ToolCall("b", {}),), ()]
    assert parse(prompt, 2).words == 2
    assert parse(prompt, 3) == Script()


def test_a_round_with_again_is_every_round_behind_it_too() -> None:
    prompt = "[[tool:a]] [[then]] [[tool:b]] [[again]]"
    assert [parse(prompt, number).tools[0].name for number in range(5)] == ["a", "b", "b", "b", "b"]


def test_a_script_in_json_has_the_same_fields() -> None:
    fields = fields_from(
        {
            "wait": 1,
            "tools": [{"name": "a", "input": {"x": 1}}, {"name": "b"}],
            "fault": "throttlingException",
            "silence": True,
            "usage": {"input": 11, "output": 7},
        }
    )
    assert Script(**fields) == Script(
        wait=1.0,
        tools=(ToolCall("a", {"x": 1}), ToolCall("b", {})),
        fault="ThrottlingException",
        silence=math.inf,
        usage=(11, 7),
    )


@pytest.mark.parametrize(
    ("document", "named"),
    [
        ({"colour": "red"}, "colour"),
        ({"wait": "soon"}, "wait"),
        ({"wait": -1}, "wait"),
        ({"words": True}, "words"),
        ({"fault": "NoSuchException"}, "fault"),
        ({"usage": {"input": 1}}, "usage"),
        ({"tools": [{"name": "a", "id": 5}]}, "tools"),
        ({"tools": [{"input": {}}]}, "tools"),
        ([], "object"),
    ],
)
def test_a_script_that_says_nothing_sensible_is_refused_by_name(document: object, named: str) -> None:
    with pytest.raises(ScriptError, match=named):
        fields_from(document)
