"""Import of the original code's archive: its state dictionaries, read without PyTorch."""
