"""Classes that the rule file names and KTransformers injects. Importing a module here needs torch and KTransformers."""
