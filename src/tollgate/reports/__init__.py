"""Reports and their exports."""
