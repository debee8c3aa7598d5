"""Invoices, credit notes, their tax and their numbers."""
