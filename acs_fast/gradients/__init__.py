"""Factored per-sample gradients of the last linear layer, and the passes that take them."""
