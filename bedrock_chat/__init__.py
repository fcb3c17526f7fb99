"""The kernel: settings, the web process, identity, the wire format, Bedrock. It imports none of the other apps."""
