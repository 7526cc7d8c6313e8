"""Grammars that constrain an answer: composes them for llguidance, and explains why it refuses one."""
