"""An emulator of Amazon Bedrock's runtime: its wire protocol, its refusals and its faults, for development and tests.

It is a process of its own (`manage.py bedrock_emulator`, or `python -m bedrock_chat.bedrock.emulator`), without Django.
Markers in the prompt or scripts sent to `/control/` decide what it answers. docs/EMULATOR.md is its manual.
"""
