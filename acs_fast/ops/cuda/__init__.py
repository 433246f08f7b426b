"""Kernels for NVIDIA GPUs, and gradient matching by tensor operations that keep a GPU busy."""
