"""Uses of a model: validation, comparison, Fisher information, identification, tuning."""
