"""The organization that bills, the clients that buy, and their contacts."""
