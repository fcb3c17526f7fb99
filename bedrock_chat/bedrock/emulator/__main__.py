"""`python -m bedrock_chat.bedrock.emulator --port N`: the emulator without Django."""

import argparse
import sys

from bedrock_chat.bedrock.emulator.process import add_options, run

parser = argparse.ArgumentParser(prog="bedrock_chat.bedrock.emulator", description="Bedrock's runtime on this machine.")
add_options(parser)
options = parser.parse_args()
sys.exit(run(options.host, options.port, exit_with_parent=options.exit_with_parent))
