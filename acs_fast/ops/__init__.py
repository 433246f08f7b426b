"""Operators on tensors: distances, facility location, matching. They know no model and no data set.

Each has a schema (`schemas`), a specification in plain PyTorch (`reference`), and compiled implementations that the
torch dispatcher finds by itself; `backends` says which are there and runs an explicitly chosen one.
"""
