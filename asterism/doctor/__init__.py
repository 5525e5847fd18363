"""What is there, what is left out and what would go wrong, told before training."""
