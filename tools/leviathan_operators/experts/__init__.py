"""Experts on GPUs: where their weights are, how they are streamed, which of them are resident."""
