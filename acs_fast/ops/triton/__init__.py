"""Triton kernels and their host side, imported on demand: triton stays optional."""
