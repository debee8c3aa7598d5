"""Exact amounts: Money, ISO 4217 exponents, splitting by weight (R1) and percentages. No float anywhere."""
