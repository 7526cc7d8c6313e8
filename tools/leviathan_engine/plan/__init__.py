"""The placement planner: pure functions from a tensor table and a machine to a plan, its table and the rule file.

`make_plan` makes the plan; `rule_file.rules_yaml` writes KTransformers' rule file for it, `table.render` the table.
"""

from leviathan_engine.machine.gpus import Gpu

from .machine import Machine, Request
from .plan import CpuPlan, GpuPlan, Plan
from .planner import make_plan

__all__ = ["CpuPlan", "Gpu", "GpuPlan", "Machine", "Plan", "Request", "make_plan"]
