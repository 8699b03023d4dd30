"""Views of a model and of an inferred star: figures, the report and the dashboard."""
