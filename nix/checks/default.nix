# `nix flake check`: everything that proves something and fits into a sandbox.
{
  buildRootfs,
  lib,
  mkRootfs,
  runInRootfs,
  source,
  tool,
}:
let
  inherit (tool) development;

  # The repository as tests see it: what they read, not the documents.
  repository = source.pick {
    name = "leviathan-repository";
    path = ../..;
    keep = [
      "manifests"
      "nix"
      "poetry.lock"
      "pyproject.toml"
      "tests"
      "tools"
    ];
  };

  nixTests = import ../../tests/nix { inherit lib; };

  # A copy, since tests and linters write caches beside what they read.
  inRepository =
    name: commands:
    runInRootfs {
      inherit name;
      trees = [
        (mkRootfs { group = "check"; })
        buildRootfs
      ];
      script = ''
        cp -r ${repository} /build/repository
        chmod -R u+w /build/repository
        cd /build/repository
        export PATH=${development}/bin:$PATH PYTHONPATH=tools
        ${commands}
        echo ok >$out
      '';
    };
in
{
  nix-lib = runInRootfs {
    name = "check-nix-lib";
    script =
      if nixTests.failures == [ ] then
        "echo '${toString nixTests.count} cases passed' | tee $out"
      else
        throw "leviathan: tests/nix: ${builtins.concatStringsSep "\n" nixTests.failures}";
  };

  python = inRepository "check-python" ''
    ${development}/bin/python3 -m pytest --ignore tests/engine --ignore tests/toolkit -p no:cacheprovider
  '';

  lint = inRepository "check-lint" ''
    ruff check .
    ruff format --check .
    mypy tools
  '';
}
