"""The cost ledger: one row for every call to a model, whatever the call was for."""
