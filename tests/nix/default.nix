# Tests of nix/lib: a file a module, an attribute a function, a list of cases { expr, expected } or { expr, throws = true }.
# A public function without a case fails the suite, and so does a case without a function.
{
  lib ? import ../../nix/lib,
}:
let
  modules = builtins.attrNames lib;
  suites = builtins.listToAttrs (
    map (name: {
      inherit name;
      value = import (./. + "/${name}.nix") lib;
    }) modules
  );

  show = value: if builtins.isString value then value else builtins.toJSON value;

  runCase =
    module: function: case:
    let
      result = builtins.tryEval (builtins.deepSeq case.expr case.expr);
      where = "lib.${module}.${function}";
    in
    if case ? throws then
      (if result.success then [ "${where}: wanted an error, got ${show result.value}" ] else [ ])
    else if !result.success then
      [ "${where}: wanted ${show case.expected}, got an error" ]
    else if result.value != case.expected then
      [ "${where}: wanted ${show case.expected}, got ${show result.value}" ]
    else
      [ ];

  runModule =
    module:
    let
      functions = builtins.attrNames lib.${module};
      tested = builtins.attrNames suites.${module};
      untested = builtins.filter (
        name: !builtins.elem name tested || suites.${module}.${name} == [ ]
      ) functions;
      stale = builtins.filter (name: !builtins.elem name functions) tested;
    in
    map (name: "lib.${module}.${name} has no test in tests/nix/${module}.nix") untested
    ++ map (name: "tests/nix/${module}.nix tests ${name}, which lib.${module} lacks") stale
    ++ builtins.concatMap (
      function: builtins.concatMap (runCase module function) suites.${module}.${function}
    ) (builtins.filter (name: builtins.elem name functions) tested);

  count = builtins.foldl' (
    total: module:
    builtins.foldl' (sum: function: sum + builtins.length suites.${module}.${function}) total (
      builtins.attrNames suites.${module}
    )
  ) 0 modules;
in
{
  failures = builtins.concatMap runModule modules;
  inherit count;
}
