"""The audit: who did what to which bot, key or person, recorded in the transaction of the write."""
