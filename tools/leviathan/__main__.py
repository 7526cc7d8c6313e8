"""`python -m leviathan` is the `leviathan` command. Its import stands where Ctrl-C is answered, as it takes a while."""

import sys

if __name__ == "__main__":
    try:
        from leviathan.cli import main

        main()
    except KeyboardInterrupt:
        sys.stderr.write("stopped\n")
        sys.exit(130)
