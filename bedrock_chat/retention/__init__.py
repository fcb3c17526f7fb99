"""How long things are kept: policies, holds that exempt from them, and the pruning of what is older."""
