"""The policy: every rule finds its breach, in a manifest that is good but for it."""

import copy
from collections.abc import Callable
from typing import Any

import pytest

from leviathan.manifests.policy import ENFORCE, EXCEPTIONS, Except, check
from leviathan.manifests.rendering import render
from leviathan.site.choices import Variant
from leviathan.site.load import load
from leviathan.site.start_budget import start_budget

Objects = dict[str, dict[str, Any]]


def objects(variant: Variant) -> Objects:
    named = {"image.digest": f"sha256:{'1' * 64}", "workload.variant": variant.value}
    return {each["kind"]: copy.deepcopy(each) for each in render(load(named=named).site, {}).objects}


def findings(found: Objects, exceptions: tuple[Except, ...] = EXCEPTIONS) -> list[str]:
    return [finding.rule for finding in check(list(found.values()), start_budget(load().site), exceptions)]


@pytest.mark.parametrize("variant", list(Variant))
def test_manifests_keep_it(variant: Variant) -> None:
    assert findings(objects(variant)) == []


def pod(found: Objects) -> Any:
    return found["Deployment"]["spec"]["template"]["spec"]


def engine(found: Objects) -> Any:
    return pod(found)["containers"][0]


BREACHES: list[tuple[str, Callable[[Objects], object]]] = [
    ("managed-by", lambda o: o["Service"]["metadata"].pop("labels")),
    ("namespace", lambda o: o["Service"]["metadata"].update(namespace="default")),
    ("image-by-digest", lambda o: engine(o).update(image="a/b:latest")),
    ("no-new-privileges", lambda o: engine(o)["securityContext"].update(allowPrivilegeEscalation=True)),
    ("no-capabilities", lambda o: engine(o)["securityContext"]["capabilities"].update(add=["SYS_NICE"])),
    ("no-capabilities", lambda o: engine(o)["securityContext"].pop("capabilities")),
    ("not-root", lambda o: pod(o)["securityContext"].pop("runAsNonRoot")),
    ("not-root", lambda o: engine(o)["securityContext"].update(runAsUser=0)),
    ("seccomp", lambda o: pod(o)["securityContext"].update(seccompProfile={"type": "Unconfined"})),
    ("read-only-root", lambda o: engine(o)["securityContext"].pop("readOnlyRootFilesystem")),
    ("no-host-namespaces", lambda o: pod(o).update(hostNetwork=True)),
    ("no-host-namespaces", lambda o: pod(o).update(hostPID=True)),
    ("safe-volumes", lambda o: pod(o)["volumes"].append({"name": "dev", "hostPath": {"path": "/dev"}})),
    ("disk-names", lambda o: pod(o)["volumes"].append({"name": "disks", "hostPath": {"path": "/dev/disk"}})),
    ("no-api-token", lambda o: pod(o).pop("automountServiceAccountToken")),
    ("scheduled", lambda o: pod(o).update(nodeName="talos-u8k-rze")),
    ("node", lambda o: pod(o).pop("nodeSelector")),
    ("resources", lambda o: engine(o)["resources"]["limits"].pop("memory")),
    ("resources", lambda o: engine(o)["resources"]["requests"].update(cpu="97")),
    ("resources", lambda o: engine(o)["resources"]["requests"].update({"nvidia.com/gpu": "1"})),
    ("resources", lambda o: pod(o)["volumes"].append({"name": "big", "emptyDir": {}})),
    ("recreate", lambda o: o["Deployment"]["spec"].update(strategy={"type": "RollingUpdate"})),
    ("start-budget", lambda o: o["Deployment"]["spec"].pop("progressDeadlineSeconds")),
    ("start-budget", lambda o: engine(o)["startupProbe"].update(failureThreshold=60)),
    ("grace", lambda o: pod(o).pop("terminationGracePeriodSeconds")),
    ("probes", lambda o: engine(o).pop("livenessProbe")),
    ("probes", lambda o: engine(o)["livenessProbe"].update(failureThreshold=1)),
    ("selector", lambda o: o["Service"]["spec"].update(selector={"app": "other"})),
    ("selector", lambda o: o["Service"]["spec"]["ports"][0].update(targetPort="web")),
    ("selector", lambda o: o["Deployment"]["spec"]["selector"]["matchLabels"].update(app="other")),
    ("pod-security", lambda o: o["Namespace"]["metadata"]["labels"].update({ENFORCE: "privileged"})),
    ("model-read-only", lambda o: o["PersistentVolume"]["spec"].pop("mountOptions")),
    ("model-read-only", lambda o: o["PersistentVolume"]["spec"].update(persistentVolumeReclaimPolicy="Delete")),
    ("model-read-only", lambda o: pod(o)["volumes"][1]["persistentVolumeClaim"].pop("readOnly")),
]  # fmt: skip


@pytest.mark.parametrize(("rule", "breach"), BREACHES, ids=[f"{n}-{rule}" for n, (rule, _) in enumerate(BREACHES)])
def test_breach_is_found(rule: str, breach: Callable[[Objects], object]) -> None:
    found = objects(Variant.UNPRIVILEGED)
    breach(found)
    assert set(findings(found)) == {rule}


def test_privileged_pod_needs_its_namespace() -> None:
    found = objects(Variant.PRIVILEGED)
    found["Namespace"]["metadata"]["labels"][ENFORCE] = "baseline"
    assert findings(found) == ["pod-security"]


def test_exceptions_are_needed_and_no_more() -> None:
    """Each exception covers a breach of the privileged variant, has a reason, and holds for that variant only."""
    found = objects(Variant.PRIVILEGED)
    for each in EXCEPTIONS:
        assert each.reason
        without = tuple(other for other in EXCEPTIONS if other is not each)
        assert findings(found, without) == [each.rule]
    unprivileged = objects(Variant.UNPRIVILEGED)
    engine(unprivileged)["securityContext"]["allowPrivilegeEscalation"] = True
    assert findings(unprivileged) == ["no-new-privileges"]


def test_exception_that_nothing_needs() -> None:
    stale = (*EXCEPTIONS, Except("recreate", True, "once needed"))
    assert findings(objects(Variant.PRIVILEGED), stale) == ["stale-exception"]


def test_findings_name_rule_object_and_reason() -> None:
    found = objects(Variant.UNPRIVILEGED)
    engine(found)["image"] = "a:b"
    [finding] = check(list(found.values()), start_budget(load().site))
    assert finding.text() == "image-by-digest: Deployment/cortex-leviathan: image a:b"
