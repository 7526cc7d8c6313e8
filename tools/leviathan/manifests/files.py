"""Reads and writes the manifests: plain YAML of several documents, written the same way each time."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from leviathan.errors import RenderError
from leviathan.site.choices import Variant

#: A Kubernetes object as YAML and JSON have it.
Object = dict[str, Any]

FILES = {Variant.PRIVILEGED: "leviathan-deploy.yaml", Variant.UNPRIVILEGED: "leviathan-unprivileged.yaml"}
#: Texts that every YAML reader, also one of YAML 1.1 as Kubernetes has, takes for texts without quotes.
PLAIN = re.compile(
    r"(?!(?:y|n|yes|no|on|off|true|false|null|nan|inf)$)[A-Za-z/-][A-Za-z0-9_./=@-]*(:[A-Za-z0-9_./=@-]+)*", re.I
)


def manifest_folder(environ: Mapping[str, str]) -> Path:
    """The folder of the templates: $LEVIATHAN_MANIFESTS, else `manifests` of the checkout that this module is in."""
    given = environ.get("LEVIATHAN_MANIFESTS")
    return Path(given) if given else Path(__file__).parents[3] / "manifests"


def read_template(folder: Path, variant: Variant) -> list[Object]:
    """The objects of a variant's template. Errors: RenderError as `read_documents`."""
    return read_documents(folder / FILES[variant], "set LEVIATHAN_MANIFESTS to the folder manifests of the repository")


def read_documents(path: Path, remedy: str = "correct manifests.extra") -> list[Object]:
    """The objects of a YAML file; `remedy` is for one that cannot be read.

    Errors: RenderError when the file is missing or is not YAML with Kubernetes objects.
    """
    try:
        documents = list(yaml.load_all(path.read_text(encoding="utf-8"), Loader=_Loader))
    except OSError as error:
        raise RenderError(
            "cannot read the manifest",
            where=str(path),
            why=error.strerror or str(error),
            remedy=remedy,
        ) from None
    except yaml.YAMLError as error:
        raise RenderError("the manifest is not YAML", where=str(path), why=str(error), remedy=f"edit {path}") from None
    for document in documents:
        if not isinstance(document, dict) or not {"apiVersion", "kind", "metadata"} <= document.keys():
            raise RenderError(
                "not a Kubernetes object",
                where=str(path),
                why=f"{str(document)[:60]!r} has no apiVersion, kind or metadata",
                remedy=f"edit {path}",
            )
    return documents


def dump(objects: Sequence[Object]) -> str:
    """The objects as YAML documents; the same objects give the same text, keys stay in their order."""
    return yaml.dump_all(
        objects,
        Dumper=_Dumper,
        sort_keys=False,
        explicit_start=True,
        allow_unicode=True,
        width=1000,
        default_flow_style=False,
    )


class _Loader(yaml.SafeLoader):
    """YAML without aliases and with an error for a key that stands twice."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("aliases are not used in manifests")
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [key.value for key, _ in node.value]
        twice = {key for key in keys if keys.count(key) > 1}
        if twice:
            raise yaml.YAMLError(f"the key {', '.join(sorted(twice))} stands twice, line {node.start_mark.line + 1}")
        return super().construct_mapping(node, deep)


class _Dumper(yaml.SafeDumper):
    """YAML with lists indented, and quotes around every text that a reader might take for something else."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=None if PLAIN.fullmatch(value) else '"')


_Dumper.add_representer(str, _text)
