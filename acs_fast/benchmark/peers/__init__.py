"""What could be installed instead, one file each: whole pipelines from factors, or a part of one."""
