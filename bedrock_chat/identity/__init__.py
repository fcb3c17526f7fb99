"""Who is calling: users, their groups, Cognito and local tokens."""
