"""What the tests of the Kubernetes client share."""

from fakes.replay_api import Answer

from leviathan.cluster.client import RetryPolicy

POD = "/api/v1/namespaces/ai/pods/x"
DEPLOYMENT = "/apis/apps/v1/namespaces/ai/deployments/x"
QUICK = RetryPolicy(first_s=0.3, again_s=0.6, request_s=0.5, connect_s=1.0, pause_s=0.01)


def status(code: int, reason: str, message: str, **details: object) -> Answer:
    """A Status object as the API server sends it."""
    body = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": message, "reason": reason}
    return Answer(code, {**body, "details": details, "code": code})
