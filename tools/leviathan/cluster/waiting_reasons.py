"""Why a container waits, in the kubelet's words. Source: pkg/kubelet/images/types.go, pkg/kubelet/container."""

#: About the container's image.
IMAGE = frozenset(
    {
        "ErrImagePull",
        "ImagePullBackOff",
        "InvalidImageName",
        "ErrImageNeverPull",
        "ImageInspectError",
        "RegistryUnavailable",
        "SignatureValidationFailed",
    }
)
#: The kubelet tries again at once after these.
FIRST_FAILURE = frozenset({"ErrImagePull", "RegistryUnavailable"})
#: Nothing changes until somebody acts.
STUCK = (IMAGE - FIRST_FAILURE) | {
    "CreateContainerConfigError",
    "CreateContainerError",
    "RunContainerError",
    "CrashLoopBackOff",
}
