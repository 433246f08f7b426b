"""Triton kernels and their host side. Nothing here is imported before an operator needs it: triton stays optional."""
