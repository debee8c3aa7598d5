"""Who may do what: identities, memberships, sessions, API keys, roles and guards."""
