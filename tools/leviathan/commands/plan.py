"""`leviathan plan`."""

from pathlib import Path

import click

from leviathan.cli.numbers import IntegerOption, NumberOption
from leviathan.cli.options import Invocation, make_command
from leviathan.terminal.output import Report

HELP = """Show which layers go on which GPU, what stays in main memory, and the expected speed. Needs no GPU.

MODEL is a GGUF folder or file, a header dump (--write-header), or a model manifest (leviathan model --write-manifest).
The default is DeepSeek-V3 Q4_K_M. The engine computes the same plan when it starts.

\b
Examples:
  leviathan plan
  leviathan plan header.json --gpu-memory 102642,34190
  leviathan plan /models/deepseek-v3-gguf --write-header header.json
  leviathan plan --gpu-memory 102642,34190 --choose --ram-rate 300000 --json
"""


@click.argument("model", required=False, type=click.Path(path_type=Path))
@click.option("--gpu-memory", metavar="MB,MB", default="", help="Memory of each GPU, in PCI order (engine.gpu_split).")
@click.option("--gpu-split", metavar="MB,MB", help="MB that the engine may use on each GPU (engine.gpu_split).")
@click.option("--choose", is_flag=True, help="Ignore the split, and let the planner distribute the layers.")
@click.option("--memory-limit", metavar="QUANTITY", help="Memory limit of the pod (resources.memory_limit).")
@click.option("--ram", metavar="QUANTITY", help="Memory of the node (cluster.node_memory).")
@click.option("--cpu-threads", metavar="INTEGER", help="CPU threads for the experts (engine.cpu_threads).")
@click.option(
    "--cache-lens", type=IntegerOption(64, 1 << 24, example=8192), help="Tokens of the KV cache (engine.cache_lens)."
)
@click.option(
    "--numa-nodes", type=IntegerOption(1, 64, example=2), default=1, help="Number of NUMA nodes of the node (1)."
)
@click.option("--ram-rate", type=NumberOption(1, example=300_000), metavar="MB/S", help="Memory bandwidth of the node.")
@click.option(
    "--write-header", type=click.Path(path_type=Path, dir_okay=False), help="Also write the model's header dump here."
)
def plan_command(
    invocation: Invocation,
    model: Path | None,
    gpu_memory: str,
    choose: bool,
    cache_lens: int | None,
    numa_nodes: int,
    ram_rate: float | None,
    write_header: Path | None,
) -> int:
    """Compute and print the plan."""

    def planned() -> Report:
        from leviathan import placement as planner  # noqa: PLC0415 - the planner is imported when it is used

        site = invocation.load_site().site
        header = planner.load_model(model)
        if write_header is not None:
            planner.write_header(header, write_header)
            invocation.console.say(f"wrote {write_header}: {len(header.tensors)} tensors")
        wishes = planner.Wishes(
            gpu_memory=gpu_memory,
            choose=choose,
            cache_tokens=cache_lens,
            numa_nodes=numa_nodes,
            ram_mb_per_s=ram_rate,
        )
        done = planner.plan(site, header if model is not None else None, wishes)
        return Report(done.text(), done.data())

    return invocation.finish(planned)


command = make_command(
    "plan",
    HELP,
    gpu_split="engine.gpu_split",
    memory_limit="resources.memory_limit",
    ram="cluster.node_memory",
    cpu_threads="engine.cpu_threads",
)(plan_command)
