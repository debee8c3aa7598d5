"""Content-addressed files: what was delivered, and every PDF."""
