"""`python -m e2e.node`: run the node until its stdin is closed or a signal comes.

It makes a mount namespace of its own first, so nothing stays mounted when it ends, however it ends. One line on stdout
when the node is registered: {"ready": port}. On stdin: `not-ready`, `silent`, `ready`, a line each, answered by the
same word on stdout.
"""

import argparse
import json
import signal
import sys
from pathlib import Path

from . import kernel
from .agent import Agent, Settings
from .api import ApiError
from .timing import Timing


def main(argv: list[str]) -> int:
    """0 when it was ended, 1 with one line on stderr when it could not begin."""
    given = _parse(argv)
    settings = Settings(
        kubeconfig=given.kubeconfig,
        root=given.root,
        name=given.name,
        port=given.port,
        plain_registries=tuple(given.plain_registry),
        client_ca=given.client_ca,
        certificate=(given.certificate, given.key) if given.certificate else None,
        proxy_kubeconfig=given.proxy_kubeconfig,
        outward=tuple(given.outward),
        timing=Timing.quick() if given.quick else Timing(),
    )
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        kernel.unshare(kernel.CLONE_NEWNS)
        kernel.mount("", "/", "", kernel.MS_REC | kernel.MS_PRIVATE)
        agent = Agent(settings)
        agent.start()
    except (OSError, ApiError) as err:
        sys.stderr.write(f"node: cannot begin: {err}: it needs root and an API server; see --help\n")
        return 1
    _say(json.dumps({"ready": agent.port}))
    words = {"not-ready": agent.member.not_ready, "silent": agent.member.silent, "ready": agent.member.ready}
    try:
        for line in sys.stdin:
            word = line.strip()
            if word in words:
                words[word]()
                _say(word)
            else:
                _say(f"unknown: {word}; known: {', '.join(words)}")
    except KeyboardInterrupt:
        pass
    agent.stop()
    return 0


def _parse(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m e2e.node", description=__doc__)
    parser.add_argument("--kubeconfig", type=Path, required=True)
    parser.add_argument("--root", type=Path, required=True, help="a folder of its own; images stay there between runs")
    parser.add_argument("--name", default=Settings.name)
    parser.add_argument("--port", type=int, default=0, help="of the kubelet's server; 0 takes a free one")
    parser.add_argument(
        "--plain-registry", action="append", default=[], help="HOST:PORT without TLS; loopback always is"
    )
    parser.add_argument("--client-ca", type=Path, help="who may read logs; default anybody")
    parser.add_argument("--proxy-kubeconfig", type=Path, help="kube-proxy's; default the same")
    parser.add_argument("--certificate", type=Path, help="of the kubelet's server, PEM; default self-signed")
    parser.add_argument("--key", type=Path, help="its key, PEM")
    parser.add_argument(
        "--outward", action="append", type=int, default=[], help="port of the node's loopback that pods reach on theirs"
    )
    parser.add_argument("--quick", action="store_true", help="back-offs and reports ten times as fast as a kubelet's")
    return parser.parse_args(argv)


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def _interrupt(_number: int, _frame: object) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
