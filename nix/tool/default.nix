# The tool's Python: Debian's interpreter, patched to run out of the store on any Linux, with the wheels of poetry.lock.
{
  artifacts,
  mkPoetryEnv,
  mkRootfs,
  runInRootfs,
  source,
}:
let
  rootfs = mkRootfs { group = "tool"; };
  tools = source.take {
    name = "leviathan-tools";
    path = ../../tools;
  };

  /**
    A prefix with bin/python3 and a working bin/bash. Its Python finds its own libraries, its standard library and the
    wheels of the given groups. Nothing of the host is read.

    Type: mkPython :: { name, groups } -> Derivation
  */
  mkPython =
    { name, groups }:
    runInRootfs {
      name = "${name}-python";
      script = ./python.sh;
      env = {
        inherit rootfs;
        environment = mkPoetryEnv {
          inherit name;
          records = artifacts.tool groups;
        };
      };
    };

  /**
    A command of the tool: bin/`command` runs `module` with the interpreter of `python`. poetry2nix's mkPoetryApplication
    for a project that needs no build.

    Type: mkPoetryApplication :: { name, python, module, arguments ? "" } -> Derivation
  */
  mkPoetryApplication =
    {
      name,
      python,
      module,
      arguments ? "",
    }:
    runInRootfs {
      inherit name;
      script = ''
        mkdir -p $out/bin
        printf '%s\n' '#!/bin/sh' \
          'LEVIATHAN_MANIFESTS=${../../manifests} PYTHONPATH=${tools} PYTHONSAFEPATH=1 PYTHONNOUSERSITE=1 PYTHONDONTWRITEBYTECODE=1 exec ${python}/bin/python3 -m ${module} ${arguments} "$@"' \
          >$out/bin/${name}
        chmod +x $out/bin/${name}
      '';
    };
in
{
  inherit mkPoetryApplication mkPython tools;

  runtime = mkPython {
    name = "tool";
    groups = [ "main" ];
  };

  development = mkPython {
    name = "development";
    groups = [
      "main"
      "test"
      "lint"
    ];
  };
}
