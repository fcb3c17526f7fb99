"""Amazon Bedrock: the models as data, requests, calls, faults, prices, and an emulator to try it all on."""
