"""Text from elsewhere, fit for a terminal: what it would act on becomes visible. Source: ECMA-48, 5.3 and 8.3.117."""

import re
import unicodedata

#: A change of colour, as programs write it into their logs: it is taken away.
COLOUR = re.compile(r"\x1b\[[0-9;:]*m")


def plain(text: str, keep: str = "\n\t") -> str:
    r"""`text` with every control character but those in `keep` written out: ESC becomes the four signs `\x1b`.

    So do C1 controls, the signs that turn the direction of text around, and half surrogates; colours go. Blanks of any
    width and letters of any script stay.
    """
    if text.isprintable():
        return text
    return "".join(_shown(each, keep) for each in COLOUR.sub("", text))


def _shown(sign: str, keep: str) -> str:
    if sign.isprintable() or sign in keep or unicodedata.category(sign) == "Zs":
        return sign
    return sign.encode("unicode_escape").decode("ascii")


def plain_json(text: str) -> str:
    r"""JSON with every character that is not printable escaped as JSON has it (``\u009b``): the same value."""
    return "".join(each if each.isprintable() or each == "\n" else _escaped(each) for each in text)


def _escaped(sign: str) -> str:
    raw = sign.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{raw[place : place + 2].hex()}" for place in range(0, len(raw), 2))
