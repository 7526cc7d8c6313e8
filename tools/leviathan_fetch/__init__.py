"""Bring every locked artifact into the Nix store, and keep the locks; standard library only.

Two commands: ``fetch`` (artifacts by package name, through the host's apt and pip, into the store) and ``lock``
(refresh or check the lock files). Start: ``PYTHONPATH=tools python3 -m leviathan_fetch fetch``.
"""
