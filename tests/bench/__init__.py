"""`make bench`: what the project does beside what others do, measured in one run and printed as one table."""
