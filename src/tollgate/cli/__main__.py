"""`python -m tollgate.cli`."""

from tollgate.cli.main import main

main()
