"""Signing in to the console: a password, a second factor, or Cognito's hosted login."""
