"""Amazon Bedrock: the catalogue of models, requests, calls, faults, prices, and an emulator of Bedrock."""
