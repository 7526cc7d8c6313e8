"""Makes the layer $layer of $layerTrees in $out; run by nix/image/default.nix with leviathan_image's layer modules."""

import os
import sys
from pathlib import Path

from leviathan_image.errors import ImageError
from leviathan_image.layer import make_layer
from leviathan_image.modes import read_modes
from leviathan_image.zstdpipe import Compression

modes = Path(os.environ["modes"]) if os.environ["modes"] else None
try:
    make_layer(
        name=os.environ["layer"],
        trees=[Path(tree) for tree in os.environ["layerTrees"].split()],
        out=Path(os.environ["out"]),
        modes=read_modes(modes),
        compression=Compression(level=int(os.environ["compression"]), long=27),
        comment=os.environ["comment"],
    )
except ImageError as error:
    sys.exit(f"leviathan: layer {os.environ['layer']}: {error}")
