"""The programs and protocols that bring artifacts: apt, pip, HTTP."""
