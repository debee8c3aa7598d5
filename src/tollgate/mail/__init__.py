"""Typed mails, their templates and the sender."""
