"""Experts on GPUs: where their weights lie, how they stream there, which of them stay."""
