"""Tests of the tests: bugs planted one at a time, each of which a named suite must catch."""
