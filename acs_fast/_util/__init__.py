"""Helpers that belong to no station of the data's way."""
