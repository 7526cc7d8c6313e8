"""`python -m leviathan` is the `leviathan` command."""

from leviathan.cli.entry import main

if __name__ == "__main__":
    main()
