"""Ageing and what is overdue."""
