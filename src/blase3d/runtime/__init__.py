"""Access to the machine: files, Zarr groups, executors, progress.

`moved.py` keeps the module paths of the last version importable.
"""
