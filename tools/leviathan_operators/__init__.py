"""Operators of our own that KTransformers' rule file injects, their plain torch references, and the paged KV cache.

`README.md` shows the way of one token through the package.
"""
