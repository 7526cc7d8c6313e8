"""The Kubernetes objects: files, the site's values in them, and the policy that they keep."""
