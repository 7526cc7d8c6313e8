"""Image references: HOST[:PORT]/REPOSITORY[:TAG][@DIGEST], as github.com/distribution/reference parses them."""

import re
from dataclasses import dataclass

_FORM = re.compile(
    r"(?:(?P<host>localhost|[^/]*[.:][^/]*)/)?(?P<repository>[a-z0-9]+(?:[._/-]+[a-z0-9]+)*)"
    r"(?::(?P<tag>[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}))?(?:@(?P<digest>sha256:[0-9a-f]{64}))?"
)


@dataclass(frozen=True)
class Reference:
    """The parts of a reference; `tag` is empty when only a digest is given."""

    host: str
    repository: str
    tag: str
    digest: str

    @property
    def name(self) -> str:
        """What is asked of the registry: the digest where there is one."""
        return self.digest or self.tag

    @property
    def by_digest(self) -> str:
        """HOST/REPOSITORY, to which `@sha256:...` is added."""
        return f"{self.host}/{self.repository}"

    def __str__(self) -> str:
        tag, digest = f":{self.tag}" if self.tag else "", f"@{self.digest}" if self.digest else ""
        return f"{self.host}/{self.repository}{tag}{digest}"


def parse(text: str) -> Reference:
    """The reference `text`, with the tag `latest` where it has neither tag nor digest.

    Errors: ValueError for what is none, or names no registry: there is none by default here.
    """
    match = _FORM.fullmatch(text)
    if match is None or not match["host"]:
        raise ValueError(f'couldn\'t parse image name "{text}": invalid reference format')
    tag = match["tag"] or ("" if match["digest"] else "latest")
    return Reference(match["host"], match["repository"], tag, match["digest"] or "")
