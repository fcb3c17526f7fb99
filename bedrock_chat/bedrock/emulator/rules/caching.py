"""Rules for cache points: which models take them, how many, and directly behind what."""

from bedrock_chat.bedrock.catalog import Model
from bedrock_chat.bedrock.emulator.refusals import Refusal, invalid, refused_by_model
from bedrock_chat.bedrock.emulator.rules.blocks import Blocks, Body
from bedrock_chat.bedrock.shapes import kind_of

MAX_CACHE_POINTS = 4


def check(body: Body, model: Model) -> None:
    """Raises Refusal. Points that live longer stand first, in the order tools, system, messages."""
    tools: Blocks = (body.get("toolConfig") or {}).get("tools") or ()
    system: Blocks = body.get("system") or ()
    contents: list[Blocks] = [message["content"] for message in body["messages"]]
    points = [block["cachePoint"] for part in (tools, system, *contents) for block in part if "cachePoint" in block]
    if not points:
        return
    if not model.caching.max_checkpoints:
        raise Refusal(
            "AccessDeniedException",
            "You invoked an unsupported model or your request did not allow prompt caching. See the documentation for "
            "more information.",
        )
    if len(points) > MAX_CACHE_POINTS:
        raise refused_by_model(
            f"A maximum of {MAX_CACHE_POINTS} blocks with cache_control may be provided. Found {len(points)}."
        )
    if "tools" not in model.caching.targets:
        for index, tool in enumerate(tools):
            if "cachePoint" in tool:
                raise _extraneous(f"toolConfig/tools/{index}")
    for part in (tools, system, *contents):
        _something_before(part)
    for number, content in enumerate(contents):
        _behind(content, number, model)
    ttls = [point.get("ttl") or "5m" for point in points]
    if "1h" in ttls[ttls.index("5m") if "5m" in ttls else len(ttls) :]:
        raise refused_by_model("a ttl='1h' cache_control block must not come after a ttl='5m' cache_control block.")


def _something_before(part: Blocks) -> None:
    """A point that stands first in its own list has nothing to cache, whatever stands in earlier lists."""
    if part and "cachePoint" in part[0]:
        raise invalid("There is nothing available to cache. Please remove the invalid cache point and try again.")


def _behind(content: Blocks, number: int, model: Model) -> None:
    """The block directly before a point in a message is of a kind that the model's family takes there.

    Amazon's models name the block before the point, Anthropic's the block that they made of the point.
    """
    for index, block in enumerate(content):
        if "cachePoint" not in block:
            continue
        before = kind_of(content[index - 1])  # type: ignore[arg-type]  # JSON has documents' bytes in base64
        if before in model.caching.behind:
            continue
        if model.family == "claude" and before == "reasoningContent":
            raise refused_by_model(
                f"messages.{number}.content.{index - 1}.thinking.cache_control: Extra inputs are not permitted"
            )
        if model.family == "claude":
            raise refused_by_model(f"messages.{number}.content.{index}.type: Field required")
        raise _extraneous(f"messages/{number}/content/{index - 1}", by_model=True)


def _extraneous(pointer: str, *, by_model: bool = False) -> Refusal:
    sentence = (
        f"Malformed input request: #/{pointer}: extraneous key [cachePoint] is not permitted, please reformat your "
        "input and try again."
    )
    return refused_by_model(sentence) if by_model else invalid(sentence)
