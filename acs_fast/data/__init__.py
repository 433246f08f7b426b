"""Data sets that number their samples, and samplers that follow the coreset."""
