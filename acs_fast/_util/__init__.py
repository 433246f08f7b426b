"""Helpers of every room."""
