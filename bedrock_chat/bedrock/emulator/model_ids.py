"""Finds the model that an identifier or ARN names."""

import re

from bedrock_chat.bedrock.catalog import MODELS, Model
from bedrock_chat.bedrock.emulator.refusals import invalid

_ARN = re.compile(r"arn:aws[a-z-]*:bedrock:[a-z0-9-]*:\d*:(?P<kind>[a-z-]+)/(?P<name>.+)")
_OF_A_MODEL = {"foundation-model", "inference-profile"}
_OF_AN_ACCOUNT = {"application-inference-profile", "provisioned-model", "custom-model-deployment", "prompt-router"}

_BY_ID: dict[str, Model] = {
    name: model for model in MODELS.values() for name in (model.bedrock_id, *model.profiles.values())
}


def model_of(identifier: str) -> Model | None:
    """The model of a model id, an inference profile or an ARN.

    None for an ARN of a resource of the account, such as its own inference profile: it may stand for any model. Raises
    Refusal for an identifier that names no model.
    """
    if model := _BY_ID.get(identifier):
        return model
    if arn := _ARN.fullmatch(identifier):
        if arn["kind"] in _OF_A_MODEL and (model := _BY_ID.get(arn["name"])):
            return model
        if arn["kind"] in _OF_AN_ACCOUNT:
            return None
    raise invalid("The provided model identifier is invalid.")
