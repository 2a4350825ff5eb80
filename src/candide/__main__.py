"""`python -m candide` is the `candide` command."""

from candide.cli.main import main

if __name__ == "__main__":
    main()
