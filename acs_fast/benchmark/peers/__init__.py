"""Packages in the place of ours, one file each: whole pipelines from factors, or a part of one."""
