"""Specifications in plain PyTorch, one short function per operator: the fallback and the oracle of every backend."""
