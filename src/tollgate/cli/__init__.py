"""The command line: `tollgate demo | serve | worker | migrate | check | doctor | create-…`."""

from tollgate.cli.main import build_parser, main

__all__ = ["build_parser", "main"]
