"""`leviathan doctor`."""

import os

from leviathan.cli.options import Invocation, make_command
from leviathan.terminal.output import Report

HELP = """Check the node that the engine runs on for what makes it slow or unreliable.

Reads, through the engine's pod: CPU governor, transparent huge pages, NUMA nodes, PCIe links, the GPUs' memory errors
and temperature, Xid messages in the kernel log. Reads the kubelet's CPU manager policy through the API. Each finding
says how to fix it; for Talos, as a machine config patch.

\b
Examples:
  leviathan doctor
  leviathan doctor --json
"""


def doctor_command(invocation: Invocation) -> int:
    """Check the node once."""

    def looked() -> Report:
        from leviathan.cluster.client import ClusterError, connect  # noqa: PLC0415 - slow to import
        from leviathan.cluster.engine_pod import find_pod  # noqa: PLC0415
        from leviathan.preflight.check_result import Level  # noqa: PLC0415
        from leviathan.support.node_advice import diagnose  # noqa: PLC0415
        from leviathan.support.probe import read_node  # noqa: PLC0415

        site = invocation.load_site().site
        cluster = connect(site, os.environ)
        facts = read_node(site, cluster)
        node = find_pod(site, cluster)["spec"].get("nodeName", "")
        try:
            answer = cluster.get(f"/api/v1/nodes/{node}/proxy/configz") or {}
        except ClusterError:
            answer = {}
        findings = diagnose(facts, answer.get("kubeletconfig"), site.resources.cpu_request)
        lines = []
        for name, finding in findings:
            lines.append(f"{finding.level.value:<7}  {name:<11}  {finding.text}")
            lines += [f"{'':<20}  fix: {finding.fix}"] if finding.fix else []
        data = [
            {"check": name, "level": finding.level.value, "text": finding.text, "fix": finding.fix}
            for name, finding in findings
        ]
        good = not any(finding.level is Level.PROBLEM for _, finding in findings)
        return Report("\n".join(lines), {"node": node, "checks": data, "changed": False}, ok=good)

    return invocation.finish(looked)


command = make_command("doctor", HELP)(doctor_command)
