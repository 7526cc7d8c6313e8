"""The process that test-compiles grammars: `python3 -m leviathan_engine.model.grammar.compile_grammar FOLDER`.

A schema is untrusted input. This process limits its own memory; the parent limits its time and ends it. Reads demands
(see compose.py), one line of JSON each, and answers each with a line: `grammar`, or `error` and the request's field
`param`. Writes `{}` as the first line when the tokenizer of FOLDER is read.
"""

import json
import resource
import sys
from pathlib import Path

from leviathan_engine.model.grammar.compose import Composer
from leviathan_engine.model.grammar.refusal import Refusal
from leviathan_engine.model.grammar.vocabulary import Vocabulary

# Reading DeepSeek's tokenizer needs 0.4 GB of address space.
MOST_MEMORY = 1536 << 20


def main() -> int:
    """Runs until the end of stdin."""
    for limit, most in ((resource.RLIMIT_AS, MOST_MEMORY), (resource.RLIMIT_CORE, 0), (resource.RLIMIT_NOFILE, 16)):
        resource.setrlimit(limit, (most, most))
    composer = Composer(Vocabulary(Path(sys.argv[1])))
    say({})
    for line in sys.stdin:
        say(answer(composer, line))
    return 0


def answer(composer: Composer, line: str) -> dict[str, str]:
    """Returns the grammar of a demand, or the reason why there is none."""
    try:
        return {"grammar": composer.compose(json.loads(line))}
    except Refusal as err:
        return {"error": err.message, "param": err.param}
    except (MemoryError, RecursionError) as err:
        return {"error": f"the grammar is too large ({type(err).__name__})", "param": ""}


def say(what: dict[str, str]) -> None:
    """Writes one line to the parent."""
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
