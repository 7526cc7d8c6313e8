"""Prints each row of a table in a Markdown file that is wider than a screen, with its place (docs/style.md).

The arguments are the files. A row is as wide as a reader sees it: its cells with " | " between them, a link by its
text, code without backquotes. Ends with 1 if there is a row to print.
"""

import pathlib
import re
import sys

WIDTH = 120


def cells(row: str) -> list[str]:
    """The cells of a row as a reader sees them. A bar after a backslash does not end a cell."""
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", row.strip(" >").removeprefix("|").removesuffix("|"))
    return [cell.strip().replace("`", "").replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", text)]


def wide(text: str) -> list[tuple[int, int]]:
    """Line number from 1 and width of each row of a table in `text` that is wider than WIDTH. Code is not a table."""
    found, code = [], False
    for number, line in enumerate(text.splitlines(), 1):
        code ^= line.lstrip().startswith("```")
        width = len(" | ".join(cells(line)))
        if not code and line.lstrip(" >").startswith("|") and width > WIDTH:
            found.append((number, width))
    return found


def main(paths: list[str]) -> int:
    wrong = []
    for path in map(pathlib.Path, paths):
        wrong += [
            f"{path}:{line}: a row of this table is {width} characters wide, expected at most {WIDTH}, because a wider "
            "table does not fit on a screen; fix: shorten the cells, or make a list of the rows\n"
            for line, width in wide(path.read_text(encoding="utf-8"))
        ]
    sys.stderr.writelines(wrong)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
