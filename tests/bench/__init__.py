"""`make bench`: the project compared with other tools, measured in one run and printed as one table."""
