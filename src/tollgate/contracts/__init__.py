"""Contracts, their milestones and deliverables, and the versions that were agreed."""
