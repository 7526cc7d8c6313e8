"""Turns folder trees into a reproducible OCI image layout, and proves what is inside it.

Runs inside the image's own build sandbox: Python's standard library plus `zstd`; the instruction-set check also calls
`llvm-objdump`, `clang` and GNU `as`. Nothing here reads the clock, the host's name or the network.
"""

#: Seconds since 1970 that every timestamp in the image carries: what the Nix store gives every file.
SOURCE_DATE_EPOCH = 1

#: The same moment in RFC 3339, for the image's config.
CREATED = "1970-01-01T00:00:01Z"
