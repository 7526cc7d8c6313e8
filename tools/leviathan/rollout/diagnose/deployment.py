"""Finds out why the Deployment has no pod: it is missing or paused, the pod is refused, or an old pod does not end."""

from collections.abc import Iterator

from leviathan.cluster.objects import Object, condition, is_ending, name_of, seconds_of
from leviathan.rollout.diagnose.cases import Case, explain
from leviathan.rollout.diagnose.finding import Commands, Finding, Severity
from leviathan.rollout.observe.snapshot import Snapshot, title

#: Seconds beyond its grace period after which a pod that does not end is reported.
OVERTIME_S = 30.0

#: After a refusal, a ReplicaSet doubles its delay before each retry, up to 1000 s (client-go, workqueue, default rate
#: limiter), so it notices a fix late. If it is deleted, the Deployment creates a new one, which tries at once.
AT_ONCE = "{kubectl} delete {where} (without this, the automatic retry may take minutes)"
#: How the API server refuses the pod of a ReplicaSet. Source: messages of the admission plug-ins.
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
        "the pod exceeds the namespace's resource quota",
        f"{{kubectl}} describe resourcequota, raise it or delete other objects, then {AT_ONCE}",
    ),
    Case(
        r"failed quota|must specify",
        "quota-wants",
        Severity.FATAL,
        "the namespace's quota requires the pod to set a resource that it does not set",
        "{kubectl} describe resourcequota, then set [resources] in the site file, or change the quota",
    ),
    Case(
        r"(maximum|minimum) \S+ usage per|must be less than or equal to (cpu|memory) limit",
        "limit-range",
        Severity.FATAL,
        "the pod's resources are outside the namespace's LimitRange",
        "{kubectl} describe limitrange, then change the LimitRange, or [resources] in the site file",
    ),
    Case(
        r'RuntimeClass "(?P<name>[^"]*)" not found',
        "runtime-class",
        Severity.FATAL,
        "the RuntimeClass {name} does not exist",
        "{cluster} get runtimeclass; create the one of the NVIDIA container runtime (handler: nvidia), or choose"
        " another: leviathan apply --set cluster.runtime_class=NAME",
    ),
    Case(
        r'serviceaccount "(?P<name>[^"]*)" not found|error looking up service account',
        "service-account",
        Severity.WAIT,
        "the pod's service account does not exist (yet)",
        "{kubectl} get serviceaccounts; kube-controller-manager creates `default`, so check that it runs",
    ),
    Case(
        r"failed calling webhook",
        "webhook",
        Severity.FATAL,
        "an admission webhook does not answer, so no pod can be created",
        "{cluster} get validatingwebhookconfigurations,mutatingwebhookconfigurations, repair or delete the named one,"
        f" then {AT_ONCE}",
    ),
    Case(
        r"admission webhook .* denied",
        "webhook-denied",
        Severity.FATAL,
        "an admission webhook refuses the pod",
        "change the fields that it names in the manifests or the site file, or change the webhook's policy",
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
        "the pod cannot be created",
        "{kubectl} describe {where}",
    ),
)


def deployment_rules(snapshot: Snapshot, commands: Commands) -> Iterator[Finding]:
    """Findings about the Deployment itself."""
    deployment, where = snapshot.deployment, commands.deployment
    if deployment is None:
        if "deployments" not in snapshot.unreadable:
            what = "the Deployment does not exist"
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
    """Whether Kubernetes gave up the rollout. The causes come before this finding."""
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
            f"Kubernetes reports that the rollout failed: no progress in {seconds} s",
            str(progressing.get("message", "")),
            "fix the other findings; if there are none, the start needs more time: raise start.margin in the site file,"
            " then leviathan apply",
        )


def other_pod_rules(snapshot: Snapshot, commands: Commands) -> Iterator[Finding]:
    """Findings about other pods: old ones that do not end, and foreign ones with the engine's label."""
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
            "the old pod does not end, and the new one cannot be created before it has",
            why,
            f"{commands.cluster} describe node {pod['spec'].get('nodeName') or commands.site.where}; only if the node"
            f" is off, or none of the pod's containers runs any longer: {force}",
        )
    for pod in snapshot.strangers:
        yield Finding(
            "stranger",
            Severity.NOTE,
            title(pod),
            f"a pod that does not belong to the Deployment has the label app={commands.site.workload.app}, so the"
            " Service sends requests to it too",
            "",
            f"{commands.kubectl} delete {title(pod)}, or give it another label",
        )


def _refused(snapshot: Snapshot, deployment: Object, commands: Commands) -> Iterator[Finding]:
    """Why the ReplicaSet cannot create the pod, from conditions, or from events if the conditions are not set yet."""
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
