"""What keeps the Deployment from having its pod: missing, paused, pods refused at creation, an old pod that stays."""

from collections.abc import Iterator

from leviathan.cluster.objects import Object, condition, is_ending, name_of, seconds_of
from leviathan.rollout.diagnose.cases import Case, explain
from leviathan.rollout.diagnose.finding import Commands, Finding, Severity
from leviathan.rollout.observe.snapshot import Snapshot, title

#: Seconds that a pod may take beyond its grace period before that is said.
OVERTIME_S = 30.0

#: A ReplicaSet that was refused waits twice as long for each next try, up to 1000 s (client-go, workqueue, default rate
#: limiter), so what is put right is seen late. The Deployment makes a deleted one anew, and that one tries at once.
AT_ONCE = "{kubectl} delete {where} (it tries again by itself, but minutes may pass)"
#: What the API server answers to the ReplicaSet that makes the pod. Source: messages of the admission plug-ins.
REFUSALS = (
    Case(
        r"violates PodSecurity",
        "pod-security",
        Severity.FATAL,
        "the namespace's Pod Security standard refuses the pod",
        "{cluster} label namespace {namespace} pod-security.kubernetes.io/enforce=privileged --overwrite, then "
        f"{AT_ONCE}; or deploy without a privileged container: leviathan apply --set workload.variant=unprivileged",
    ),
    Case(
        r"exceeded quota",
        "quota",
        Severity.FATAL,
        "the namespace's quota has no room for the pod",
        f"{{kubectl}} describe resourcequota, raise it or delete what uses it up, then {AT_ONCE}",
    ),
    Case(
        r"failed quota|must specify",
        "quota-wants",
        Severity.FATAL,
        "the namespace's quota wants a resource that the pod does not name",
        "{kubectl} describe resourcequota, then set [resources] in the site file, or change the quota",
    ),
    Case(
        r"(maximum|minimum) \S+ usage per|must be less than or equal to (cpu|memory) limit",
        "limit-range",
        Severity.FATAL,
        "the namespace's LimitRange refuses the pod's resources",
        "{kubectl} describe limitrange, then change it or [resources] in the site file",
    ),
    Case(
        r'RuntimeClass "(?P<name>[^"]*)" not found',
        "runtime-class",
        Severity.FATAL,
        "there is no RuntimeClass {name}",
        "{cluster} get runtimeclass; make the one of the NVIDIA container runtime (handler: nvidia), or name another:"
        " leviathan apply --set cluster.runtime_class=NAME",
    ),
    Case(
        r'serviceaccount "(?P<name>[^"]*)" not found|error looking up service account',
        "service-account",
        Severity.WAIT,
        "the pod's service account is not there (yet)",
        "{kubectl} get serviceaccounts; `default` comes by itself while kube-controller-manager runs",
    ),
    Case(
        r"failed calling webhook",
        "webhook",
        Severity.FATAL,
        "an admission webhook does not answer, so no pod can be made",
        "{cluster} get validatingwebhookconfigurations,mutatingwebhookconfigurations, repair or delete the one that is"
        f" named, then {AT_ONCE}",
    ),
    Case(
        r"admission webhook .* denied",
        "webhook-denied",
        Severity.FATAL,
        "an admission webhook refuses the pod",
        "change what it names in manifests/ or the site file, or the webhook's policy",
    ),
    Case(
        r"being terminated",
        "namespace-ending",
        Severity.FATAL,
        "the namespace is being deleted",
        "{cluster} wait --for=delete namespace/{namespace}, then leviathan deploy",
    ),
    Case(
        r"",
        "failed-create",
        Severity.FATAL,
        "the pod cannot be made",
        "{kubectl} describe {where}",
    ),
)


def deployment_rules(snapshot: Snapshot, commands: Commands) -> Iterator[Finding]:
    """The Deployment itself."""
    deployment, where = snapshot.deployment, commands.deployment
    if deployment is None:
        if "deployments" not in snapshot.unreadable:
            what = "there is no such Deployment"
            yield Finding("no-deployment", Severity.FATAL, where, what, "", "leviathan apply")
        return
    if deployment["spec"].get("paused"):
        remedy = f"{commands.kubectl} rollout resume {where}"
        yield Finding("paused", Severity.FATAL, where, "the Deployment is paused", "", remedy)
    if deployment["spec"].get("replicas", 1) == 0:
        remedy = f"{commands.kubectl} scale {where} --replicas=1"
        yield Finding("no-replicas", Severity.FATAL, where, "the Deployment is scaled to 0", "", remedy)
    yield from _refused(snapshot, deployment, commands)


def deadline_rules(snapshot: Snapshot, commands: Commands) -> Iterator[Finding]:
    """Kubernetes has given the rollout up; the causes stand before this one."""
    deployment = snapshot.deployment
    if deployment is None or not snapshot.current:
        return
    progressing = condition(deployment, "Progressing")
    if progressing.get("status") == "False" and progressing.get("reason") == "ProgressDeadlineExceeded":
        seconds = deployment["spec"].get("progressDeadlineSeconds", 600)
        yield Finding(
            "deadline",
            Severity.WAIT,
            commands.deployment,
            f"for Kubernetes the rollout has failed: no progress in {seconds} s",
            str(progressing.get("message", "")),
            "remove the cause that is named beside this; if there is none, the start needs longer: raise start.margin"
            " in the site file, then leviathan apply",
        )


def other_pod_rules(snapshot: Snapshot, commands: Commands) -> Iterator[Finding]:
    """Pods that are in the way: old ones that do not end, and strangers with the engine's label."""
    for pod in snapshot.old_pods:
        over = snapshot.now - seconds_of(pod["metadata"].get("deletionTimestamp"))
        if not is_ending(pod) or over < OVERTIME_S:
            continue
        finalizers = pod["metadata"].get("finalizers") or []
        why = f"finalizers: {', '.join(finalizers)}" if finalizers else f"{over:.0f} s beyond its grace period"
        force = f"{commands.kubectl} delete {title(pod)} --force --grace-period=0"
        yield Finding(
            "old-pod-stays",
            Severity.FATAL,
            title(pod),
            "the old pod does not end, and until then no new one is made",
            why,
            f"{commands.cluster} describe node {pod['spec'].get('nodeName') or commands.site.where}; only when"
            f" the node is off, or nothing of the pod runs any more: {force}",
        )
    for pod in snapshot.strangers:
        yield Finding(
            "stranger",
            Severity.NOTE,
            title(pod),
            f"a pod that is not the Deployment's has the label app={commands.site.workload.app}, so the Service sends"
            " requests to it too",
            "",
            f"{commands.kubectl} delete {title(pod)}, or give it another label",
        )


def _refused(snapshot: Snapshot, deployment: Object, commands: Commands) -> Iterator[Finding]:
    """Why the ReplicaSet cannot make the pod: in conditions, and in the ReplicaSet's events before they are written."""
    replica_set = snapshot.replica_set
    if snapshot.pod is not None or replica_set is None:
        return
    where = f"replicaset/{name_of(replica_set)}"
    event = snapshot.last(replica_set, "FailedCreate")
    for each in (replica_set, deployment):
        failure = condition(each, "ReplicaFailure")
        if failure.get("status") == "True" and failure.get("reason") == "FailedCreate":
            yield explain(REFUSALS, str(failure.get("message", "")), where, commands)
            return
    made = snapshot.last(replica_set, "SuccessfulCreate")
    if event is not None and (made is None or made.when < event.when):
        yield explain(REFUSALS, event.message.removeprefix("Error creating: "), where, commands)
