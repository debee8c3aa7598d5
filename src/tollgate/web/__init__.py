"""What every page stands on: rendering, forms, static files, headers, cross-site protection. Knows no feature room."""
