"""The archive of the original code: its state dictionaries, read without PyTorch."""
