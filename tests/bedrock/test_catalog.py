"""The catalogue is complete, every fact has a source, and models are routed according to the operator's switches."""

import json
from pathlib import Path
from typing import Any

import pytest

from bedrock_chat.bedrock import attachments, catalog, offering

CONTRACT = json.loads((Path(__file__).parent.parent / "contract" / "contract-main.json").read_text())
DATA = json.loads(catalog.DATA.read_text())


def route(key: str, region: str, **switches: Any) -> str:
    switches = {"cross_region": False, "global_inference": False, "profile_arns": {}, **switches}
    return offering.target_of(catalog.find(key), region=region, **switches).model_id


def test_every_model_of_the_contract_is_there() -> None:
    post = next(r for r in CONTRACT["routes"] if (r["method"], r["path"]) == ("POST", "/conversation"))
    message = next(field for field in post["requestBody"]["schema"]["fields"] if field["name"] == "message")
    keys = next(field for field in message["fields"] if field["name"] == "model")["enum"]
    assert set(catalog.MODELS) == set(keys)
    assert len(keys) == 30


@pytest.mark.parametrize("key", sorted(catalog.MODELS))
def test_every_fact_has_a_source_and_a_date(key: str) -> None:
    entry = DATA["models"][key]
    nested = ("abilities", "requestLimits")
    groups = [group for name in nested for group in entry[name].items()]
    groups += [(name, group) for name, group in entry.items() if isinstance(group, dict) and name not in nested]
    groups += [("behind", behind)] if (behind := entry["abilities"]["promptCaching"]["behind"]) else []
    for name, group in groups:
        if group.get("supported", "not an ability") is not None:
            assert group["source"], f"{key}.{name}"
            assert group["asOf"], f"{key}.{name}"


def test_what_nobody_knows_stays_unknown() -> None:
    assert catalog.find("mistral-large").prefill is None
    assert catalog.find("deepseek-r1").documents is None
    assert catalog.find("claude-v4.6-sonnet").prefill is False


@pytest.mark.parametrize("key", sorted(catalog.MODELS))
def test_every_source_is_explained(key: str) -> None:
    explained = DATA["notes"]["sources"]

    def named(value: Any) -> set[str]:
        if isinstance(value, dict):
            own = set(value["source"]) if isinstance(value.get("source"), list) else set()
            return own.union(*(named(inner) for name, inner in value.items() if name != "disagreements"))
        return set()

    assert named(DATA["models"][key]) - explained.keys() == set()


def test_a_model_that_is_cached_for_a_closed_preview_alone_counts_as_not_cached() -> None:
    assert DATA["models"]["claude-v3.5-sonnet-v2"]["abilities"]["promptCaching"]["targets"]
    assert not catalog.find("claude-v3.5-sonnet-v2").caching.targets


@pytest.mark.parametrize(
    ("key", "images", "image_side", "pdf", "csv", "whole"),
    [
        ("claude-v3.7-sonnet", 20, 8000, 4_500_000, 4_500_000, 32_000_000),
        ("claude-v4.5-sonnet", 100, 8000, 24_000_000, 4_500_000, 32_000_000),
        ("claude-v4.7-opus", 100, 8000, 24_000_000, 4_500_000, 32_000_000),
        ("amazon-nova-pro", 20, 8000, 18_750_000, 4_500_000, 25_000_000),
        ("llama3-2-90b-instruct", 1, 1120, 4_500_000, 4_500_000, 25_000_000),
        ("mistral-large", 0, None, 4_500_000, 4_500_000, 25_000_000),
    ],
)
def test_what_a_request_may_hold(key: str, images: int, image_side: int | None, pdf: int, csv: int, whole: int) -> None:
    model = catalog.find(key)
    assert attachments.most_images(model) == images
    assert model.image_limits.longest_side == image_side
    assert attachments.most_document_bytes(model, "pdf") == pdf
    assert attachments.most_document_bytes(model, "csv") == csv
    assert attachments.most_request_bytes(model) == whole


def test_an_unknown_key_is_an_error_of_its_own() -> None:
    with pytest.raises(catalog.UnknownModelKey):
        catalog.find("gpt-4")


def test_the_switches_choose_the_profile() -> None:
    bare = "anthropic.claude-sonnet-4-5-20250929-v1:0"
    assert route("claude-v4.5-sonnet", "eu-central-1") == bare
    assert route("claude-v4.5-sonnet", "eu-central-1", cross_region=True) == f"eu.{bare}"
    assert route("claude-v4.5-sonnet", "ap-northeast-1", cross_region=True) == f"jp.{bare}"
    assert route("claude-v4.5-sonnet", "sa-east-1", cross_region=True) == bare
    assert route("claude-v4.5-sonnet", "sa-east-1", global_inference=True) == f"global.{bare}"
    both = {"cross_region": True, "global_inference": True}
    assert route("claude-v4.5-sonnet", "us-east-1", **both) == f"global.{bare}"
    assert route("claude-v3.7-sonnet", "us-east-1", **both) == "us.anthropic.claude-3-7-sonnet-20250219-v1:0"


def test_a_profile_of_ones_own_wins() -> None:
    arn = "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/abc"
    switches = {"cross_region": True, "global_inference": True, "profile_arns": {"claude-v4.5-sonnet": arn}}
    assert route("claude-v4.5-sonnet", "us-east-1", **switches) == arn


@pytest.mark.parametrize("key", sorted(catalog.MODELS))
def test_a_region_has_at_most_one_geographic_profile(key: str) -> None:
    model = catalog.find(key)
    regions = [
        region
        for geography, served in model.profile_regions.items()
        if geography != catalog.GLOBAL
        for region in served
    ]
    assert len(regions) == len(set(regions))
    assert set(model.profile_regions) <= set(model.profiles)
