"""Tollgate: contract milestone billing, from delivery and client sign-off to a numbered invoice and its payment."""

__version__ = "0.1.0"
