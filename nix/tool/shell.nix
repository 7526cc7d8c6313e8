# What `nix run`, `nix develop` and `nix fmt` start.
{
  artifacts,
  runInRootfs,
  system,
  tool,
}:
let
  inherit (tool) development runtime;

  leviathan = tool.mkPoetryApplication {
    name = "leviathan";
    python = runtime;
    module = "leviathan";
  };

  deploy = tool.mkPoetryApplication {
    name = "leviathan-deploy";
    python = runtime;
    module = "leviathan";
    arguments = "deploy";
  };

  # ruff formats the Python; neither Debian nor PyPI has a formatter for Nix.
  format = runInRootfs {
    name = "leviathan-format";
    script = ''
      mkdir -p $out/bin
      printf '%s\n' '#!${development}/bin/bash' \
        'set -eu' \
        '[ $# -gt 0 ] || set -- .' \
        '${development}/bin/ruff check --fix "$@"' \
        'exec ${development}/bin/ruff format "$@"' >$out/bin/leviathan-format
      chmod +x $out/bin/leviathan-format
    '';
  };
  # The checkout's own code, with whatever PYTHONPATH names: `leviathan` and `python` in `nix develop`.
  checkout = runInRootfs {
    name = "leviathan-checkout";
    script = ''
      mkdir -p $out/bin
      printf '%s\n' '#!/bin/sh' 'exec ${development}/bin/python3 -m leviathan "$@"' >$out/bin/leviathan
      chmod +x $out/bin/leviathan
      ln -s ${development}/bin/python3 $out/bin/python
    '';
  };
in
{
  inherit leviathan;

  apps = {
    leviathan = {
      type = "app";
      program = "${leviathan}/bin/leviathan";
    };
    deploy = {
      type = "app";
      program = "${deploy}/bin/leviathan-deploy";
    };
  };

  formatter = format;

  # `nix develop` wants a derivation that bash builds; it takes over this one's environment.
  devShell = derivation {
    name = "leviathan-shell";
    inherit system;
    outputs = [ "out" ]; # nix develop reads it from the environment
    builder = "${development}/bin/bash";
    args = [
      "-c"
      "echo 'leviathan: enter this shell with: nix develop' >&2; exit 1"
    ];
    shellHook = ''
      export PATH=${checkout}/bin:${development}/bin:$PATH PYTHONPATH=$PWD/tools
      export LEVIATHAN_SCHEMA_SUITE=${artifacts.source "json-schema-test-suite"}
    '';
  };
}
