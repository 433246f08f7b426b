"""The GPU bars: what the hardware allows, and what was measured."""
