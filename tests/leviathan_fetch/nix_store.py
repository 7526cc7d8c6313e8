"""Stands in for nix-store on a machine without Nix: the folder FAKE_STORE, with the store paths of FAKE_STORE/names.

Knows the calls that fetch makes: --check-validity, --add-fixed, --print-fixed-path, --realise --add-root.
"""

import json
import os
import shutil
import sys
from pathlib import Path

STORE = Path(os.environ["FAKE_STORE"])
names = json.loads((STORE / "names").read_text())
call, arguments = sys.argv[1], sys.argv[2:]
if call == "--check-validity":
    sys.stdout.write("\n".join(path for path in arguments[1:] if not (STORE / Path(path).name).exists()) + "\n")
elif call == "--add-fixed":
    for file in map(Path, arguments[arguments.index("sha256") + 1 :]):
        target = STORE / Path(names[file.name]).name
        (shutil.copytree if "--recursive" in arguments else shutil.copyfile)(file, target)
        sys.stdout.write(names[file.name] + "\n")
elif call == "--print-fixed-path":
    sys.stdout.write(names[arguments[2]] + "\n")
elif call == "--realise":
    for number, path in enumerate(arguments[3:]):
        Path(arguments[1] + (f"-{number + 1}" if number else "")).symlink_to(path)
