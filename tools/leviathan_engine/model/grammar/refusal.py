"""Says by the keyword's name why llguidance cannot do a grammar."""

import re

NOT_DONE = "is not supported: leave it out"
# What the library's message looks like, and what is said in its place.
KNOWN = (
    (r'Unimplemented keys: \["([^\]]*)"\]', r"{} " + NOT_DONE),
    (r"Unknown format: (.*)", r"format {} " + NOT_DONE),
    (r"(oneOf) constraints are not supported", r"{} " + NOT_DONE + ", or use anyOf"),
    (r"Resource '(.*?)' is not present", r"$ref {} is not in the schema itself, and nothing is fetched"),
    (r"(?:Pointer|Anchor) '(.*?)' does not exist", r"$ref {} does not exist"),
    (r"(recursion limit) exceeded", r"it is nested too deeply ({})"),
)
PLACE = re.compile(r"^at \d+\(\d+\): (failed to compile JSON schema: )?")
# How the library calls the schema itself in addresses.
ITSELF = "json-schema:///"
SOURCE = re.compile(r"^\s*\d+ \| ", re.MULTILINE)


class Refusal(Exception):
    """A demand that cannot be done: the text names the field and the keyword; `param` is the field."""

    def __init__(self, message: str, param: str) -> None:
        super().__init__(message)
        self.message, self.param = message, param


def refusal(error: str, where: str) -> Refusal:
    """The refusal for a message of the library, about the request's field `where`."""
    # Before the library's own words stands where in the composed grammar it was, and after them that grammar.
    error = SOURCE.split(PLACE.sub("", error))[0].replace(ITSELF, "")
    for pattern, words in KNOWN:
        if match := re.search(pattern, error):
            return Refusal(f"{where}: {words.format(match[1].replace(chr(34), ''))}", where)
    lines = [line.strip() for line in error.splitlines() if line.strip(" ^")]
    if lines and lines[0].startswith("regex parse error"):
        return Refusal(f"{where}: the pattern cannot be done: {lines[-1].removeprefix('error: ')[:200]}", where)
    return Refusal(f"{where}: it cannot be done: {' '.join(lines)[:300] or 'no reason is known'}", where)
