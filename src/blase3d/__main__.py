"""`python -m blase3d`: the command line."""

from .cli import main

main()
