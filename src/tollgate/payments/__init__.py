"""Money received: the gateway, the inbox of its events, allocation and reconciliation."""
