# The Kubernetes programs of the end-to-end test: compiled by Debian's Go from the modules that go.sum pins, and Debian's
# etcd. `python3 -m leviathan_fetch.kubernetes fetch` brings what lock.json names; nothing else of the flake needs it.
{
  artifacts,
  lib,
  runInRootfs,
}:
let
  lock = builtins.fromJSON (builtins.readFile ./lock.json);

  remedy = "PYTHONPATH=tools python3 -m leviathan_fetch.kubernetes fetch";
  artifact =
    entry: artifacts.derive (entry // { inherit remedy; name = lib.artifact.storeName entry.filename; });
  debs = builtins.mapAttrs (_: artifact) lock.debs;
in
runInRootfs {
  name = "kubernetes-${lock.modules.version}";
  script = ./build.sh;
  env = {
    source = ./src;
    modules = artifact lock.modules;
    go = [
      debs."golang-1.24-go"
      debs."golang-1.24-src"
    ];
    etcd = debs.etcd-server;
    inherit (lock.modules) version;
  };
}
