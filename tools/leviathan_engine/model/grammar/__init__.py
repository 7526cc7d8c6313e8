"""Grammars that an answer must follow: their parts, what llguidance is given, and what it refuses."""
