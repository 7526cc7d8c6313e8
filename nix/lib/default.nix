# The pure half of the flake: one topic a file, no derivation built. Each file gets its siblings by name.
let
  lib = {
    check = import ./check.nix { };
    arch = import ./arch.nix { inherit (lib) check; };
    artifact = import ./artifact.nix { };
    debian = import ./debian.nix { inherit (lib) artifact check; };
    lock = import ./lock.nix { inherit (lib) check; };
    marker = import ./marker.nix { };
    wheel = import ./wheel.nix { };
    poetry = import ./poetry.nix { inherit (lib) artifact check marker wheel; };
    settings = import ./settings.nix { inherit (lib) arch check; };
  };
in
lib
