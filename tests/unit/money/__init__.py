"""Exact amounts."""
