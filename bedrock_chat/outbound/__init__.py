"""The only way out to addresses that are no service of AWS: every address is judged, and every call is bounded."""
