"""Adapters to training frameworks; each needs its framework installed."""
