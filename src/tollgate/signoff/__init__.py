"""Delivery and the client's decision: review rounds, approval links, sign-offs and certificates."""
