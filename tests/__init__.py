"""The tests. `python -m tests` is the one line that runs them all."""
