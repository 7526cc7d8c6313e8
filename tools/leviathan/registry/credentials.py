"""Reads credentials from the files of skopeo, podman and Docker: `auths`, `credHelpers` and `credsStore`.

Source of the format: docker-cli's config file reference and the docker-credential-helpers protocol
(`docker-credential-NAME get`, the registry on stdin, JSON with Username and Secret on stdout).
"""

import base64
import binascii
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from leviathan.errors import ProcessError, RegistryError
from leviathan.process import Done, run

#: The message of a helper that has no credentials for a registry. It then exits with 1.
NOT_FOUND = "credentials not found"
#: The user name that marks a helper's secret as an identity token.
TOKEN_USER = "<token>"


@dataclass(frozen=True)
class Credentials:
    """A user name and password, or an identity token for the token server."""

    username: str = ""
    password: str = field(default="", repr=False)
    identity_token: str = field(default="", repr=False)

    def basic(self) -> str:
        """The value of an Authorization header for basic authentication."""
        return "Basic " + base64.b64encode(f"{self.username}:{self.password}".encode()).decode()


def auth_files(environ: Mapping[str, str]) -> list[Path]:
    """The files that may have credentials, in the order of skopeo and podman, with Docker's file last.

    If REGISTRY_AUTH_FILE is set, only that file. Source: containers-auth.json(5), and Docker's own DOCKER_CONFIG.
    """
    if environ.get("REGISTRY_AUTH_FILE"):
        return [Path(environ["REGISTRY_AUTH_FILE"])]
    home = Path(environ.get("HOME", "/"))
    runtime = Path(environ.get("XDG_RUNTIME_DIR") or f"/run/containers/{os.getuid()}")
    runtime = runtime / "containers" if environ.get("XDG_RUNTIME_DIR") else runtime
    config = Path(environ.get("XDG_CONFIG_HOME") or home / ".config")
    return [runtime / "auth.json", config / "containers" / "auth.json", config_path(environ)]


def config_path(environ: Mapping[str, str]) -> Path:
    """Docker's config file: below $DOCKER_CONFIG, else below ~/.docker."""
    folder = environ.get("DOCKER_CONFIG")
    return (Path(folder) if folder else Path(environ.get("HOME", "/")) / ".docker") / "config.json"


def first_credentials(host: str, repository: str, environ: Mapping[str, str]) -> Credentials | None:
    """The credentials for `repository` in the registry `host` (with port), from the first file that has them.

    Errors: as `find_credentials`.
    """
    for path in auth_files(environ):
        found = find_credentials(host, path, repository=repository, environ=environ)
        if found is not None:
            return found
    return None


def find_credentials(
    host: str,
    path: Path,
    *,
    repository: str = "",
    environ: Mapping[str, str] | None = None,
    runner: Callable[..., Done] = run,
) -> Credentials | None:
    """The credentials in the file `path` for the registry `host` (with port) and its `repository`, or None.

    A helper for the registry comes first, then `credsStore`, then the entry with the longest prefix of the repository's
    name. Arguments: `environ`, the environment of credential helpers, by default that of this process; `runner` for
    tests. Errors: RegistryError if the file cannot be read, or a helper fails.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, RecursionError) as error:
        raise RegistryError(
            "cannot read the credentials", where=str(path), why=str(error), remedy=f"docker login {host}"
        ) from None
    if not isinstance(content, dict):
        raise RegistryError("the credentials file is not a JSON object", where=str(path), remedy=f"docker login {host}")
    helper = _for_host(content.get("credHelpers"), host) or content.get("credsStore")
    if helper:
        found = _ask(str(helper), host, os.environ if environ is None else environ, runner)
        if found is not None:
            return found
    auths = content.get("auths")
    steps = repository.split("/") if repository else []
    for name in ("/".join([host, *steps[:count]]) for count in range(len(steps), 0, -1)):
        entry = auths.get(name) if isinstance(auths, dict) else None
        found = _decode(entry, name, path) if isinstance(entry, dict) else None
        if found is not None:
            return found
    entry = _for_host(auths, host)
    return _decode(entry, host, path) if isinstance(entry, dict) else None


def bare_host(name: str) -> str:
    """The key of a config entry without scheme and path: `https://reg.example:5000/v2/` is `reg.example:5000`."""
    return name.split("://", 1)[-1].split("/", 1)[0]


def _for_host(table: Any, host: str) -> Any:
    if not isinstance(table, dict):
        return None
    legacy = (value for name, value in table.items() if _is_host(name) and bare_host(name) == host)
    return table.get(host) or next(legacy, None)


def _is_host(name: str) -> bool:
    """Whether an entry is for a whole registry: `host`, `https://host/`, `host/v1/`; not `host/team/image`."""
    path = name.split("://", 1)[-1].partition("/")[2].strip("/")
    return "://" in name or path in ("", "v1", "v2")


def _decode(entry: Mapping[str, Any], host: str, path: Path) -> Credentials | None:
    if entry.get("identitytoken"):
        return Credentials(identity_token=str(entry["identitytoken"]))
    if entry.get("auth"):
        try:
            username, separator, password = base64.b64decode(str(entry["auth"]), validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            separator = username = password = ""
        if not separator:
            raise RegistryError(
                "the auth entry is not base64 of user:password", where=f"{path}, {host}", remedy=f"docker login {host}"
            )
        return Credentials(username, password.rstrip("\0"))
    if entry.get("username"):
        return Credentials(str(entry["username"]), str(entry.get("password", "")))
    return None


def _ask(helper: str, host: str, environ: Mapping[str, str], runner: Callable[..., Done]) -> Credentials | None:
    program = f"docker-credential-{helper}"
    try:
        # Pass the whole environment, as docker does, because helpers read their own variables from it (AWS_*,
        # CLOUDSDK_*, GNUPGHOME, PASSWORD_STORE_DIR, GPG_TTY, ...).
        done = runner([program, "get"], env=environ, stdin=host, timeout_s=60.0, check=False)
    except ProcessError as error:
        raise RegistryError(
            "the credential helper cannot be run",
            where=program,
            why=error.why or error.what,
            remedy=f"install {program} or run docker login {host}",
        ) from None
    if done.status != 0:
        if NOT_FOUND in (done.stdout + done.stderr).lower():
            return None
        raise RegistryError(
            "the credential helper failed", where=program, why=done.tail(), remedy=f"echo {host} | {program} get"
        )
    try:
        answer = json.loads(done.stdout)
        username, secret = str(answer["Username"]), str(answer["Secret"])
    except (ValueError, KeyError, TypeError):
        raise RegistryError(
            "the credential helper returned no credentials", where=program, remedy=f"echo {host} | {program} get"
        ) from None
    return Credentials(identity_token=secret) if username == TOKEN_USER else Credentials(username, secret)
