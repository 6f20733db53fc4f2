"""Make it smaller: a rotation of the embedding, and what is cut down by it."""
