"""`leviathan doctor`."""

import os

from leviathan.cli.options import Invocation, make_command
from leviathan.terminal.output import Report

HELP = """Look at the node that the engine runs on: what slows it down, and what its cards and kernel say.

Read through the engine's pod: CPU governor, transparent huge pages, NUMA nodes, PCIe links, memory errors and heat of
the cards, Xid lines; and the kubelet's CPU manager through the API. Each finding has what mends it, for Talos as a
patch.

\b
Examples:
  leviathan doctor
  leviathan doctor --json
"""


def doctor_command(invocation: Invocation) -> int:
    """Look once."""

    def looked() -> Report:
        from leviathan.cluster.client import ClusterError, connect  # noqa: PLC0415 - slow to import
        from leviathan.cluster.engine_pod import find_pod  # noqa: PLC0415
        from leviathan.preflight.check_result import Level  # noqa: PLC0415
        from leviathan.support.node_advice import diagnose  # noqa: PLC0415
        from leviathan.support.probe import read_node  # noqa: PLC0415

        site = invocation.load_site().site
        cluster = connect(site, os.environ)
        found = read_node(site, cluster)
        node = find_pod(site, cluster)["spec"].get("nodeName", "")
        try:
            answer = cluster.get(f"/api/v1/nodes/{node}/proxy/configz") or {}
        except ClusterError:
            answer = {}
        findings = diagnose(found, answer.get("kubeletconfig"), site.resources.cpu_request)
        lines = []
        for name, each in findings:
            lines.append(f"{each.level.value:<7}  {name:<11}  {each.text}")
            lines += [f"{'':<20}  fix: {each.fix}"] if each.fix else []
        data = [
            {"check": name, "level": each.level.value, "text": each.text, "fix": each.fix} for name, each in findings
        ]
        good = not any(each.level is Level.PROBLEM for _, each in findings)
        return Report("\n".join(lines), {"node": node, "checks": data, "changed": False}, ok=good)

    return invocation.finish(looked)


command = make_command("doctor", HELP)(doctor_command)
