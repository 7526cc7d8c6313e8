"""Values that a pod takes from elsewhere: its own fields, ConfigMaps, Secrets, and its service account's token."""

import base64
import json
import re
from typing import Any

from .api import Api, ApiError
from .quantity import amount
from .spec import ConfigError

Json = dict[str, Any]
_KEYED = re.compile(r"metadata\.(labels|annotations)\['([^']+)'\]")


class Sources:
    """Of one pod."""

    def __init__(self, api: Api, pod: Json, address: str, host: str) -> None:
        """`address`: the pod's, `host`: the node's."""
        self._api, self._pod = api, pod
        self._namespace = str(pod["metadata"]["namespace"])
        self._fields = {
            "metadata.name": pod["metadata"]["name"],
            "metadata.namespace": self._namespace,
            "metadata.uid": pod["metadata"]["uid"],
            "spec.nodeName": pod["spec"]["nodeName"],
            "spec.serviceAccountName": pod["spec"].get("serviceAccountName", "default"),
            "status.podIP": address,
            "status.hostIP": host,
        }

    def variable(self, source: Json, container: Json) -> str | None:
        """A `valueFrom`; None where an optional one has no value. Errors: ConfigError."""
        if "fieldRef" in source:
            return self.field(source["fieldRef"]["fieldPath"])
        if "resourceFieldRef" in source:
            return self.resource(source["resourceFieldRef"], container)
        kind = "configMap" if "configMapKeyRef" in source else "secret"
        wanted = source[f"{kind}KeyRef"]
        found = self.read(kind, wanted["name"])
        if found is None or wanted["key"] not in found:
            if wanted.get("optional"):
                return None
            place = f"{self._namespace}/{wanted['name']}"
            whole = kind.lower() if kind == "secret" else "configmap"
            missing = f'{whole} "{wanted["name"]}" not found'
            raise ConfigError(missing if found is None else f"couldn't find key {wanted['key']} in {kind} {place}")
        return found[wanted["key"]].decode(errors="replace")

    def variables(self, container: Json) -> dict[str, str]:
        """All of `envFrom`. Errors: ConfigError."""
        out: dict[str, str] = {}
        for source in container.get("envFrom") or []:
            kind = "configMap" if "configMapRef" in source else "secret"
            wanted = source[f"{kind}Ref"]
            found = self.read(kind, wanted["name"])
            if found is None and not wanted.get("optional"):
                raise ConfigError(f'{kind.lower()} "{wanted["name"]}" not found')
            for key, value in (found or {}).items():
                out[source.get("prefix", "") + key] = value.decode(errors="replace")
        return out

    def field(self, path: str) -> str:
        """A field of the pod, by its path. Errors: ConfigError."""
        match = _KEYED.fullmatch(path)
        if match:
            return str(self._pod["metadata"].get(match[1], {}).get(match[2], ""))
        if path in ("metadata.labels", "metadata.annotations"):
            found = self._pod["metadata"].get(path.partition(".")[2]) or {}
            return "\n".join(f"{key}={json.dumps(value)}" for key, value in sorted(found.items()))
        if path not in self._fields:
            raise ConfigError(f"field label not supported: {path}")
        return str(self._fields[path])

    def resource(self, wanted: Json, container: Json) -> str:
        """A container's limit or request, in units of the divisor, rounded up."""
        group, _, name = wanted["resource"].partition(".")
        found = container.get("resources", {}).get(group, {}).get(name, 0)
        divisor = amount(wanted.get("divisor") or 1) or 1
        return str(int(-(-amount(found) // divisor)))

    def read(self, kind: str, name: str) -> dict[str, bytes] | None:
        """The data of a configMap or secret, None for none. Errors: ApiError."""
        found = self._api.get(f"/api/v1/namespaces/{self._namespace}/{kind.lower()}s/{name}")
        if found is None:
            return None
        if kind == "configMap":
            plain = {key: text.encode() for key, text in (found.get("data") or {}).items()}
            return plain | {k: base64.b64decode(v) for k, v in (found.get("binaryData") or {}).items()}
        return {key: base64.b64decode(text) for key, text in (found.get("data") or {}).items()}

    def token(self, wanted: Json) -> bytes:
        """A token of the pod's service account, bound to this pod. Errors: ApiError."""
        account = self._fields["spec.serviceAccountName"]
        bound = {"kind": "Pod", "apiVersion": "v1", "name": self._fields["metadata.name"]}
        spec: Json = {
            "expirationSeconds": wanted.get("expirationSeconds", 3607),
            "boundObjectRef": bound | {"uid": self._fields["metadata.uid"]},
        }
        if wanted.get("audience"):
            spec["audiences"] = [wanted["audience"]]
        path = f"/api/v1/namespaces/{self._namespace}/serviceaccounts/{account}/token"
        body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}
        return str(self._api.create(path, body)["status"]["token"]).encode()

    def logins(self) -> dict[str, tuple[str, str]]:
        """Registry → (user, password) from the pod's pull secrets; those that cannot be read are left out."""
        out: dict[str, tuple[str, str]] = {}
        for one in self._pod["spec"].get("imagePullSecrets") or []:
            try:
                document = json.loads((self.read("secret", one["name"]) or {}).get(".dockerconfigjson", b"{}"))
            except (ApiError, ValueError):
                continue
            for host, entry in document.get("auths", {}).items():
                pair = base64.b64decode(entry.get("auth", "")).decode() or f"{entry['username']}:{entry['password']}"
                name, _, password = pair.partition(":")
                out[host.removeprefix("https://").removeprefix("http://").split("/")[0]] = (name, password)
        return out
