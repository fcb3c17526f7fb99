"""The directory of people and groups: Cognito's, and those who were seen here."""
