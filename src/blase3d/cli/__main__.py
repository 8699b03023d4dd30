"""`python -m blase3d.cli`."""

from . import main

main()
