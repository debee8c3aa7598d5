"""What HTTP needs of every route: problem details, idempotency keys, ETags, pages of lists."""
