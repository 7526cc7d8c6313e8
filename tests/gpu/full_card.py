"""A prompt for which the card's memory is too small, while the engine runs: `full_card.py URL [--leave MB]`.

Takes the first card's free memory but for `--leave` in this process (torch), asks with a long prompt, which must get
an error of OpenAI's form, and with a short one, which must be answered. One JSON object; exit code 1 when either is
not so.
"""

import argparse
import json
import sys
import urllib.error
import urllib.request
from typing import Any

import torch


def ask(url: str, words: int) -> tuple[int, dict[str, Any]]:
    """Status and body of one completion of four tokens, of a prompt of `words` tokens or a few more."""
    body = {"model": "deepseek-v3", "prompt": [0, *([5] * (words - 1))], "max_tokens": 4, "temperature": 0}
    request = urllib.request.Request(
        f"{url}/v1/completions", json.dumps(body).encode(), {"content-type": "application/json"}
    )
    try:
        with urllib.request.urlopen(request, timeout=200) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as err:
        return err.code, json.load(err)


def main() -> int:
    """Asks short, fills the card, asks long and short."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url")
    parser.add_argument("--leave", type=int, default=300, help="MB")
    parser.add_argument("--long", type=int, default=6000, help="tokens")
    args = parser.parse_args()
    before, first = ask(args.url, 16)
    torch.zeros(1, device="cuda:0")
    held = torch.empty(torch.cuda.mem_get_info(0)[0] - args.leave * 10**6, dtype=torch.uint8, device="cuda:0")
    status, refused = ask(args.url, args.long)
    after, second = ask(args.url, 16)
    texts = [one["choices"][0]["text"] if "choices" in one else "" for one in (first, second)]
    good = (before, status, after) == (200, 500, 200) and texts[0] == texts[1]
    out = {"good": good, "held": held.numel(), "statuses": [before, status, after], "error": refused.get("error")}
    sys.stdout.write(json.dumps(out) + "\n")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
