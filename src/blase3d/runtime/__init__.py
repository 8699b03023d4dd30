"""What the package needs of the machine: files, Zarr groups, executors, progress.

`moved.py` keeps the module paths of the last version alive.
"""
