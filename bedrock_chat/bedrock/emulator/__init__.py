"""Amazon Bedrock's runtime on this machine: its wire protocol, its refusals and its faults, for rehearsal.

A process of its own (`manage.py bedrock_emulator`, or `python -m bedrock_chat.bedrock.emulator`), without Django. What
it answers is scripted by markers in the prompt or over `/control/`; docs/EMULATOR.md is its manual.
"""
