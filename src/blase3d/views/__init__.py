"""Views: figures, the report and the dashboard."""
