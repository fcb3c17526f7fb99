"""What Bedrock and its models refuse, rule by rule. `validation.check` calls them in Bedrock's order."""
