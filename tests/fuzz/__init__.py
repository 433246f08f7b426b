"""Anything goes in: a clear error or a right answer comes out, and never a crash."""
