"""The page at `/`: one HTML document with inline style and scripts, and a policy that allows only these.

The files next to this one replace the links in `index.html`. The Content-Security-Policy has their SHA-256 hashes, so
the browser only runs these scripts, loads nothing from other addresses, and (`require-trusted-types-for`) does not let
scripts turn text into HTML.
"""

import base64
import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).parent
SCRIPT = re.compile(r'<script src="([a-z_]+\.js)"></script>')
STYLE = re.compile(r'<link rel="stylesheet" href="([a-z_]+\.css)">')


@dataclass(frozen=True)
class Page:
    """The document and its response headers."""

    body: bytes
    headers: dict[str, str]


def assemble(folder: Path = FOLDER) -> Page:
    """Assembles the page from the files of `folder`. Errors: OSError for a missing file."""
    hashes: dict[str, list[str]] = {"script": [], "style": []}

    def inline(kind: str, match: re.Match[str]) -> str:
        text = (folder / match[1]).read_text(encoding="utf-8")
        if f"</{kind}" in text:
            raise ValueError(f"{match[1]} contains </{kind}, which would end the element")
        digest = base64.b64encode(hashlib.sha256(text.encode("utf-8")).digest()).decode("ascii")
        hashes[kind].append(f"'sha256-{digest}'")
        return f"<{kind}>{text}</{kind}>"

    document = (folder / "index.html").read_text(encoding="utf-8")
    document = STYLE.sub(lambda match: inline("style", match), document)
    document = SCRIPT.sub(lambda match: inline("script", match), document)
    return Page(document.encode("utf-8"), _headers(hashes))


def _headers(hashes: dict[str, list[str]]) -> dict[str, str]:
    policy = (
        "default-src 'none'",
        f"script-src {' '.join(hashes['script'])}",
        f"style-src {' '.join(hashes['style'])}",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    )
    return {
        "content-security-policy": "; ".join(policy),
        "content-type": "text/html; charset=utf-8",
        "cache-control": "no-cache",
        "referrer-policy": "no-referrer",
        "x-content-type-options": "nosniff",
        "cross-origin-opener-policy": "same-origin",
    }
