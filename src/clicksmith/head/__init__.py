"""How a vector becomes logits."""
