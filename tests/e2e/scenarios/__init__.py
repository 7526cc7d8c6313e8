"""The whole way: disk, image, registry, cluster and `leviathan deploy`, with a report of what was seen."""
