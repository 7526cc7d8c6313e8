"""Downloads a GGUF model to the site's storage. Runs in the pod of a Job, and needs only the standard library."""
