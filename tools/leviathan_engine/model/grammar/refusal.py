"""Explains why llguidance refuses a grammar, with the name of the schema's keyword."""

import re

NOT_DONE = "is not supported: leave it out"
# Pattern of the library's message → our message.
KNOWN = (
    (r'Unimplemented keys: \["([^\]]*)"\]', r"{} " + NOT_DONE),
    (r"Unknown format: (.*)", r"format {} " + NOT_DONE),
    (r"(oneOf) constraints are not supported", r"{} " + NOT_DONE + ", or use anyOf"),
    (r"Resource '(.*?)' is not present", r"$ref {} is not in the schema itself, and external schemas are not fetched"),
    (r"(?:Pointer|Anchor) '(.*?)' does not exist", r"$ref {} does not exist"),
    (r"(recursion limit) exceeded", r"it is nested too deeply ({})"),
)
PLACE = re.compile(r"^at \d+\(\d+\): (failed to compile JSON schema: )?")
# The library's address of the schema itself.
ITSELF = "json-schema:///"
SOURCE = re.compile(r"^\s*\d+ \| ", re.MULTILINE)


class Refusal(Exception):
    """A demand that is not supported: the text names the field and the keyword; `param` is the field."""

    def __init__(self, message: str, param: str) -> None:
        super().__init__(message)
        self.message, self.param = message, param


def refusal(error: str, where: str) -> Refusal:
    """Returns the refusal for a message of the library about the request's field `where`."""
    # The library's message begins with a position in the composed grammar, and ends with that grammar.
    error = SOURCE.split(PLACE.sub("", error))[0].replace(ITSELF, "")
    for pattern, words in KNOWN:
        if match := re.search(pattern, error):
            return Refusal(f"{where}: {words.format(match[1].replace(chr(34), ''))}", where)
    lines = [line.strip() for line in error.splitlines() if line.strip(" ^")]
    if lines and lines[0].startswith("regex parse error"):
        return Refusal(f"{where}: the pattern cannot be compiled: {lines[-1].removeprefix('error: ')[:200]}", where)
    return Refusal(f"{where}: the grammar cannot be compiled: {' '.join(lines)[:300] or 'unknown reason'}", where)
