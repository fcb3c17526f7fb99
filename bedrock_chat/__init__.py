"""The kernel: settings, the way in, identity, the wire, Bedrock. It imports none of the apps to its right."""
