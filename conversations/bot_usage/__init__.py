"""How a bot is used: it lives here because it reads what people think of answers."""
