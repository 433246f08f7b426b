"""Kernels for NVIDIA GPUs, and gradient matching by tensor operations for all groups at once."""
