"""Downloads a GGUF model onto the site's storage; runs in the pod of a Job, with the standard library alone."""
