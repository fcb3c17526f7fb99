"""What operators have set of each model, over the environment's lists."""
