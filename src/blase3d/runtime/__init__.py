"""Files, executors and progress."""
