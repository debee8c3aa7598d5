"""PostgreSQL: tables' common ground, one transaction per verb, one tenant per transaction."""
