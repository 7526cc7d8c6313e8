"""A chat template of the site's own in place of the model's: engine.chat_template.

A path below storage.mount_point is a file in the pod, next to the model. Any other is a file on this machine, which
goes into a ConfigMap.
"""

import hashlib
from collections.abc import Iterator
from pathlib import Path

from leviathan.errors import RenderError
from leviathan.manifests.fields import ENGINE, POD, get_field
from leviathan.manifests.files import Object
from leviathan.manifests.networking import object_of
from leviathan.site.schema import Site

FOLDER, FILE = "/etc/leviathan/chat-template", "chat_template.jinja"
#: Of a ConfigMap's data: Kubernetes takes 1 MiB with everything around it.
MOST_BYTES = 1_000_000
#: At the pod template, so that another text means another pod: the engine reads it at its start.
HASH = "leviathan/chat-template-sha256"


def config_map(site: Site) -> Iterator[Object]:
    """The ConfigMap with the template, where it is a file of this machine. Errors: RenderError as `template`."""
    text = template(site)
    if text is not None:
        yield object_of(site, "v1", "ConfigMap", _name(site), data={FILE: text})


def set_chat_template(deployment: Object, site: Site) -> None:
    """Tells the engine which template it takes. Errors: RenderError as `template`."""
    if not site.engine.chat_template:
        return
    text = template(site)
    path = site.engine.chat_template
    if text is not None:
        path = f"{FOLDER}/{FILE}"
        volume = {"name": "chat-template", "configMap": {"name": _name(site)}}
        get_field(deployment, (*POD, "volumes")).append(volume)
        mount = {"name": "chat-template", "mountPath": FOLDER, "readOnly": True}
        get_field(deployment, (*ENGINE, "volumeMounts")).append(mount)
        annotations = deployment["spec"]["template"]["metadata"].setdefault("annotations", {})
        annotations[HASH] = hashlib.sha256(text.encode("utf-8")).hexdigest()
    get_field(deployment, (*ENGINE, "args")).append(f"--chat_template={path}")


def template(site: Site) -> str | None:
    """The text of the site's template; None where it has none or names a file in the pod.

    Errors: RenderError for a file that cannot be read, is empty or larger than a ConfigMap.
    """
    named = site.engine.chat_template
    if not named or named.startswith(site.storage.mount_point.rstrip("/") + "/"):
        return None
    try:
        with Path(named).open("rb") as file:
            raw = file.read(MOST_BYTES + 1)
        text = raw.decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror or str(error) if isinstance(error, OSError) else "it is not UTF-8"
        raise RenderError(
            "cannot read the chat template",
            where=f"{named} (engine.chat_template)",
            why=why,
            remedy=f"name a Jinja file of this machine, or one below {site.storage.mount_point} in the pod",
        ) from None
    if len(raw) > MOST_BYTES or not text.strip():
        size = f"more than {MOST_BYTES}" if text.strip() else "no"
        raise RenderError(
            f"the chat template has {size} bytes",
            where=f"{named} (engine.chat_template)",
            why="a ConfigMap takes at most 1 MiB" if text.strip() else "nothing could be rendered",
            remedy=f"correct the file, or put it below {site.storage.mount_point} in the pod",
        )
    return text


def _name(site: Site) -> str:
    return f"{site.workload.deployment}-chat-template"
