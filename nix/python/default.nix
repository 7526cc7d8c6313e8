# poetry.lock as a tree of installed wheels: poetry2nix's mkPoetryEnv for a Debian root file system (docs/adr/0001).
{ artifacts, runInRootfs }:
/**
  The wheels of a Poetry project's groups, installed under usr/local/lib/python3.11/dist-packages of a tree.

  Inputs: `name`; `records` artifact records (from `artifacts.engine` or `artifacts.tool`); `select` keeps a record by its
  package name; `prune` globs (relative to dist-packages) with the reason why nothing loads what they match.

  Type: mkPoetryEnv :: { name, records, select ? (_: true), prune ? { } } -> Derivation
*/
{
  name,
  records,
  select ? (_: true),
  prune ? { },
}:
let
  wheels = builtins.filter (record: select record.package) records;
  installer = builtins.filter (record: record.package == "installer") (artifacts.engine [ "build" ]);
in
runInRootfs {
  name = "python-${name}";
  script = "python3 ${./install.py}";
  env = {
    wheels = map artifacts.derive wheels;
    wheelNames = map (record: record.filename) wheels;
    installer = map artifacts.derive installer;
    prune = builtins.toJSON prune;
  };
}
