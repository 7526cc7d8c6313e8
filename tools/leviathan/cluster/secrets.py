"""Creates the Secrets that a site needs if they do not exist. Never overwrites them, and never prints their content.

Source: Kubernetes, "Secrets" (type kubernetes.io/dockerconfigjson), and docker-cli's config file.
"""

import base64
import json
import secrets
from collections.abc import Mapping

from leviathan.cluster.client import Cluster, ClusterError
from leviathan.manifests.files import Object
from leviathan.manifests.fit import INSTANCE
from leviathan.manifests.policy import MANAGED
from leviathan.registry.credentials import Credentials, auth_files, first_credentials
from leviathan.site.choices import ApiKey
from leviathan.site.schema import Site
from leviathan.terminal.output import Console

#: The entry of the Secret that has the API key, and the name of the file in the pod.
API_KEY = "api-key"


def ensure(site: Site, cluster: Cluster, environ: Mapping[str, str], console: Console) -> list[str]:
    """Create the site's missing Secrets, and return the titles of those that were created.

    Errors: ClusterError if the cluster refuses, or if there is no registry login to create the pull Secret from.
    """
    made = []
    if site.image.make_pull_secret and _missing(site, cluster, site.image.pull_secret):
        _create(site, cluster, _pull_secret(site, environ))
        made.append(f"Secret/{site.image.pull_secret}")
        console.say(f"created Secret/{site.image.pull_secret} from your login for {site.registry.host}")
    if site.access.api_key is ApiKey.SECRET and _missing(site, cluster, site.api_key_secret):
        _create(site, cluster, secret(site, site.api_key_secret, "Opaque", {API_KEY: new_key()}))
        made.append(f"Secret/{site.api_key_secret}")
        console.say(f"created Secret/{site.api_key_secret} with a new API key; read it: {read_command(site, cluster)}")
    return made


def new_key() -> str:
    """A key of 256 random bits."""
    return f"sk-{secrets.token_urlsafe(32)}"


def read_command(site: Site, cluster: Cluster) -> str:
    """The command that prints the API key."""
    space, name = site.cluster.namespace, site.api_key_secret
    return f"{cluster.kubectl} -n {space} get secret {name} -o jsonpath='{{.data.{API_KEY}}}' | base64 -d"


def read_key(site: Site, cluster: Cluster) -> str:
    """The API key from the site's Secret.

    Errors: ClusterError if the Secret cannot be read, or has no key.
    """
    found = cluster.get(path(site, site.api_key_secret))
    try:
        return base64.b64decode((found or {})["data"][API_KEY], validate=True).decode().strip().splitlines()[0]
    except (KeyError, ValueError, IndexError):
        raise ClusterError(
            f"Secret/{site.api_key_secret} has no API key",
            where=site.cluster.namespace,
            why="there is no such Secret" if found is None else f"its entry {API_KEY} is missing or empty",
            remedy="run leviathan apply, which creates a missing Secret; if the Secret exists, correct the entry",
        ) from None


def path(site: Site, name: str) -> str:
    """The API path of a Secret of the site's namespace."""
    return f"/api/v1/namespaces/{site.cluster.namespace}/secrets/{name}"


def _missing(site: Site, cluster: Cluster, name: str) -> bool:
    return cluster.get(path(site, name)) is None


def _create(site: Site, cluster: Cluster, secret: Object) -> None:
    try:
        cluster.create(f"/api/v1/namespaces/{site.cluster.namespace}/secrets", secret, fieldManager="leviathan")
    except ClusterError as error:
        if error.status != 409:  # another process created it first
            raise


def secret(site: Site, name: str, kind: str, data: Mapping[str, str]) -> Object:
    """A Secret with our label; the values of `data` are plain strings."""
    labels = {MANAGED[0]: MANAGED[1], **({INSTANCE: site.release} if site.release else {})}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "namespace": site.cluster.namespace, "labels": labels},
        "type": kind,
        "data": {key: base64.b64encode(value.encode()).decode() for key, value in data.items()},
    }


def _pull_secret(site: Site, environ: Mapping[str, str]) -> Object:
    """The Secret that the kubelet logs in with. Errors: ClusterError."""
    host = site.registry.host
    found = first_credentials(host, site.image.repository, environ)
    if found is None:
        raise ClusterError(
            f"there is no registry login to create Secret/{site.image.pull_secret} from",
            where=", ".join(map(str, auth_files(environ))),
            why=f"none of these files has an entry for {host}",
            remedy=f"docker login {host}, or create the Secret yourself and set image.make_pull_secret = false",
        )
    config = json.dumps({"auths": {host: _entry(found)}})
    return secret(site, site.image.pull_secret, "kubernetes.io/dockerconfigjson", {".dockerconfigjson": config})


def _entry(found: Credentials) -> dict[str, str]:
    if found.identity_token:
        return {"identitytoken": found.identity_token}
    pair = f"{found.username}:{found.password}"
    return {
        "username": found.username,
        "password": found.password,
        "auth": base64.b64encode(pair.encode()).decode(),
    }
