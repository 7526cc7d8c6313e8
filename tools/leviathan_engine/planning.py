"""The engine's API for the deploy tool: the placement plan of a model on a machine, and the GGUF header behind it.

The tool imports nothing else from this package.
"""

from leviathan_engine.errors import EngineError, UsageError
from leviathan_engine.gguf import Model, dump, read_model
from leviathan_engine.machine.cpu import Threads, threads
from leviathan_engine.model.known_templates import describe_template
from leviathan_engine.model.reference import q4_k_m
from leviathan_engine.model.reference_sizes import assumed
from leviathan_engine.model.shape import read_shape
from leviathan_engine.plan import Gpu, Machine, Plan, Request, make_plan
from leviathan_engine.plan.machine import MB, gpu_split
from leviathan_engine.plan.table import render

__all__ = [
    "MB",
    "EngineError",
    "Gpu",
    "Machine",
    "Model",
    "Plan",
    "Request",
    "Threads",
    "UsageError",
    "assumed",
    "describe_template",
    "dump",
    "gpu_split",
    "make_plan",
    "q4_k_m",
    "read_model",
    "read_shape",
    "render",
    "threads",
]
