"""The kubelet's reasons of waiting containers. Source: pkg/kubelet/images/types.go, pkg/kubelet/container."""

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
#: The kubelet retries at once after these.
FIRST_FAILURE = frozenset({"ErrImagePull", "RegistryUnavailable"})
#: Permanent: nothing changes until somebody acts.
STUCK = (IMAGE - FIRST_FAILURE) | {
    "CreateContainerConfigError",
    "CreateContainerError",
    "RunContainerError",
    "CrashLoopBackOff",
}
