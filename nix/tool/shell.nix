# What `nix run`, `nix develop` and `nix fmt` start.
{ tool, system }:
let
  inherit (tool) development runtime;
in
{
  leviathan = tool.mkPoetryApplication {
    name = "leviathan";
    python = runtime;
    module = "leviathan";
  };

  # `nix develop` wants a derivation that bash builds; it takes over this one's environment.
  devShell = derivation {
    name = "leviathan-shell";
    inherit system;
    builder = "${development}/bin/bash";
    args = [ "-c" "echo 'leviathan: enter this shell with: nix develop' >&2; exit 1" ];
    PATH = "${development}/bin";
    PYTHONPATH = "tools";
  };
}
