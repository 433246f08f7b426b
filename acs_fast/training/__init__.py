"""The main job: robust training on coresets, from real data to a report. Needs the extras `train` and `plot`."""
