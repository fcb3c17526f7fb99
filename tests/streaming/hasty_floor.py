"""The product's settings, and a floor that is judged after half a second."""

from bedrock_chat.serving import outflow
from bedrock_chat.settings import *  # noqa: F403

outflow.FLOOR_SECONDS = 0.5
