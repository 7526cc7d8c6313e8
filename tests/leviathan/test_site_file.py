"""The site: typed, with the runbook's defaults, errors that name the key, and a fixed precedence."""

import dataclasses
import json
import tomllib
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from site_support import problem, write

from leviathan.site.choices import Variant
from leviathan.site.keys import toml
from leviathan.site.load import DEFAULTS, SPECS, load
from leviathan.site.schema import Site

ALL = pytest.mark.parametrize("path", [spec.path for spec in SPECS])


def test_runbook_defaults() -> None:
    site = load().site
    assert (
        f"{site.registry.host}/{site.image.repository}:{site.image.tag}"
        == "192.168.3.10:5000/omni/engine:leviathan-standard"
    )
    assert site.registry.plain_http is True
    assert (site.cluster.namespace, site.cluster.node, site.cluster.address) == (
        "ai-workloads",
        "talos-u8k-rze",
        "192.168.3.2",
    )
    assert (site.workload.deployment, site.workload.app) == ("cortex-leviathan", "leviathan-671b")
    assert (site.workload.service, site.engine.node_port) == ("leviathan-inference", 30000)
    assert (site.storage.partition, site.storage.filesystem) == ("/dev/nvme0n1p1", "xfs")
    assert site.engine.gpu_split == (90000, 30000)
    assert (site.resources.memory_limit, site.resources.memory_request) == ("360Gi", "256Gi")
    assert (site.resources.cpu_limit, site.resources.cpu_request, site.resources.gpus) == ("96", "48", 2)
    assert (site.model.pod, site.model.done_marker, site.model.size_gb) == (
        "sysadmin-logistics",
        "DOWNLOAD COMPLETE",
        385.0,
    )
    assert site.workload.variant is Variant.PRIVILEGED


def test_defaults_stand_in_the_file_and_nowhere_else() -> None:
    tables = tomllib.loads(DEFAULTS.read_text())
    assert [f"{section}.{name}" for section, table in tables.items() for name in table] == [spec.path for spec in SPECS]
    for section in typing.get_type_hints(Site).values():
        assert all(field.default is dataclasses.MISSING for field in dataclasses.fields(section))


def test_schema_and_defaults_golden(golden: Callable[[str, str], None]) -> None:
    """A changed default is a changed cluster for those who rely on it: it should be seen in a review."""
    values = load().values()
    lines = [
        f"{spec.path} = {json.dumps(values[spec.section][spec.name])}  ({spec.wants})  {spec.key.help}"
        for spec in SPECS
    ]
    golden("site-schema.txt", "\n".join(lines) + "\n")


def test_site_is_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        load().site.registry.host = "x"  # type: ignore[misc]


#: Another value for each number, by key: for these, "the default with a number" is invalid or does not fit the others.
OTHERWISE: dict[str, Callable[[int], Any]] = {
    "image.digest": lambda n: f"sha256:{str(n) * 64}",
    "model.folder": lambda n: f"/other{n}",
    "storage.mount_point": lambda n: ("/", "/models/models")[n % 2],
    "push.mount_from": lambda n: [f"other/{n}", "second"],
    "resources.cpu_request": lambda n: f"{n}500m",
    "resources.memory_request": lambda n: f"{n}Gi",
    "engine.cache_lens": lambda n: 64 * n,
    "workload.variant": lambda n: ("privileged", "unprivileged")[n % 2],
    "cluster.node_labels": lambda n: [f"card={n}", "disk=fast"],
    "watch.labels": lambda n: [f"release=r{n}"],
    "model.repository": lambda n: f"lab/model-{n}",
    "model.include": lambda n: [f"Q{n}/*.gguf"],
    "model.urls": lambda n: [f"https://files.example/{n}.gguf"],
    "access.api_key": lambda n: ("off", "secret")[n % 2],
    "engine.kept": lambda n: ("memory", "pod")[n % 2],
    "access.gateway": lambda n: f"gateways/public{n}",
    "access.ingress_annotations": lambda n: [f"note={n}"],
    "access.allow_from": lambda n: [f"namespace:n{n}"],
    "service.type": lambda n: ("NodePort", "ClusterIP", "LoadBalancer")[n % 3],
    "service.url": lambda n: f"https://engine{n}.example.org",
    "storage.kind": lambda n: ("partition", "pvc")[n % 2],
    "storage.path": lambda n: f"/srv/models{n}",
    "policy.exceptions": lambda n: [f"safe-volumes: reason {n}"],
}


def another(path: str, default: Any, n: int) -> Any:
    """Another value than the default for a key, and a different one for each of 1, 2, 3, 4, or in turns."""
    if path in OTHERWISE:
        return OTHERWISE[path](n)
    if isinstance(default, bool):
        return default is (n % 2 == 0)
    if isinstance(default, list):
        return [default[0] + n, *default[1:]]
    if isinstance(default, str):
        spec = next(spec for spec in SPECS if spec.path == path)
        return f"{n}{default}" if "quantity" in spec.key.wants else f"{default}{n}"
    return default + n


def text_of(value: Any) -> str:
    """A value as the environment and flags have it."""
    if isinstance(value, list):
        return ",".join(map(str, value))
    return str(value).lower() if isinstance(value, bool) else str(value)


@ALL
def test_every_key_can_be_set_everywhere(path: str, tmp_path: Path) -> None:
    """By file, environment, --set and a flag of its own: each value arrives, over that of the layer before; the origin
    is told."""
    spec = next(spec for spec in SPECS if spec.path == path)
    default = load().values()[spec.section][spec.name]
    by_file, by_environment, by_set, by_flag = (another(path, default, n) for n in (1, 2, 3, 4))
    how: dict[str, Any] = {}
    steps: list[tuple[str, Any, Any, str]] = [
        ("environ", {}, default, "default"),
        (
            "path",
            write(tmp_path, f"[{spec.section}]\n{spec.name} = {toml(by_file)}\n"),
            by_file,
            f"{tmp_path}/site.toml",
        ),
        ("environ", {spec.variable: text_of(by_environment)}, by_environment, f"${spec.variable}"),
        ("settings", [f"{path}={text_of(by_set)}"], by_set, "--set"),
        ("named", {path: text_of(by_flag)}, by_flag, "command line"),
    ]
    before = None
    for layer, content, value, origin in steps:
        how[layer] = content
        together = dict(how)
        if path == "access.allow_from":
            together["settings"] = [*how.get("settings", []), "access.network_policy=true"]
        if path == "access.ingress_tls_secret":
            together["settings"] = [*how.get("settings", []), "access.ingress_host=x"]
        if path == "image.make_pull_secret":
            together["settings"] = [*how.get("settings", []), "image.pull_secret=login"]
        if path == "resources.gpus":  # as many numbers as cards
            split = f"engine.gpu_split={text_of([1] * value)}"
            together["settings"] = [*how.get("settings", []), split]
        loaded = load(**together)
        assert loaded.values()[spec.section][spec.name] == value != before
        assert loaded.origins[path] == origin
        before = value


def test_later_wins(tmp_path: Path) -> None:
    file = write(tmp_path, "[push]\nparallel = 5\n")
    how: dict[str, Any] = {"path": file}
    assert load(**how).site.push.parallel == 5
    how["environ"] = {"LEVIATHAN_PUSH_PARALLEL": "6"}
    assert load(**how).site.push.parallel == 6
    how["settings"] = ["push.parallel=7", "push.parallel=8"]
    assert load(**how).site.push.parallel == 8
    how["named"] = {"push.parallel": "9"}
    assert load(**how).site.push.parallel == 9


@pytest.mark.parametrize(
    ("toml", "words"),
    [
        ("[registry]\nhosts = 'x'", "registry.hosts (FILE): no such key, nearest: host, allowed: host, plain_http"),
        ("[registy]\nhost = 'x'", "registy (FILE): no such section, nearest: registry, allowed: registry, image, push"),
        ("registry = 'x'", "registry (FILE): expected a section; write [registry] and its keys below it"),
        ("[push]\nparallel = 'four'", "push.parallel (FILE): expected an integer from 1 to 32, got the string 'four'"),
        ("[push]\nparallel = 33", "push.parallel (FILE): expected an integer from 1 to 32, got 33"),
        ("[push]\nparallel = true", "push.parallel (FILE): expected an integer from 1 to 32, got true"),
        ("[registry]\nplain_http = 1", "registry.plain_http (FILE): expected true or false, got 1"),
        ("[workload]\nvariant = 'open'", "variant (FILE): expected one of privileged, unprivileged, got 'open'"),
        ("[engine]\ngpu_split = ['a']", "engine.gpu_split (FILE): expected a list of integers, got ['a']"),
        ("[resources]\nmemory_limit = '360GB'", "with a Kubernetes quantity such as 360Gi, got '360GB'"),
        ("[nvme]\npartition = '/dev/nvme0n1'", "expected a string such as /dev/nvme0n1p1"),
        ("[nvme]\npartition = '/dev/sda'", "expected a string such as /dev/nvme0n1p1"),
        ("[image]\nrepository = 'Omni'", "got 'Omni'; a repository name must be lowercase: omni"),
        ("[cluster]\naddress = '192.168.3.2:30000'", "got '192.168.3.2:30000'; the port belongs in engine.node_port"),
        ("[engine]\nnode_port = 80", "engine.node_port (FILE): expected an integer from 30000 to 32767, or 0, got 80"),
    ],
)  # fmt: skip
def test_wrong_file_names_the_key(toml: str, words: str, tmp_path: Path) -> None:
    file = write(tmp_path, toml)
    assert words.replace("FILE", str(file)) in problem(file)


def test_all_problems_at_once(tmp_path: Path) -> None:
    file = write(tmp_path, "[push]\nparallel = 0\nretries = -1\n")
    text = problem(file, settings=["push.chunk_mib=x"], environ={"LEVIATHAN_PUSH_TIMEOUT_S": "no"})
    assert text.startswith("invalid site, 4 problems: ")
    for name in (
        "push.parallel",
        "push.retries",
        "push.chunk_mib (--set)",
        "push.timeout_s ($LEVIATHAN_PUSH_TIMEOUT_S)",
    ):
        assert name in text


def test_unreadable_and_broken_files(tmp_path: Path) -> None:
    assert f"cannot read the site file ({tmp_path}/none): No such file" in problem(tmp_path / "none")
    assert "is not valid TOML" in problem(write(tmp_path, "[push\n"))
    (tmp_path / "site.toml").write_bytes(b"\xff\xfe")
    assert "is not valid TOML" in problem(tmp_path / "site.toml")


def test_every_default_is_accepted_again() -> None:
    """What `leviathan site --default` prints is a valid site file."""
    assert load(DEFAULTS).site == load().site
