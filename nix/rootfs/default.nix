# A Debian root file system out of locked .debs: unpacked by the seed, then what maintainer scripts would have done, by hand.
{
  artifacts,
  seed,
  system,
}:
/**
  The tree of one group of nix/locks/debian.json, as one folder that a chroot or a layer takes.

  Inputs: `group` the lock's group; `documentation` keeps licences (usr/share/doc/X/copyright) and dpkg's status.d.

  Type: mkRootfs :: { group, documentation ? false } -> Derivation
*/
{
  group,
  documentation ? false,
}:
let
  debs = map artifacts.derive (artifacts.debian group);
in
derivation {
  name = "rootfs-${group}";
  inherit system debs;
  seed = seed.path;
  builder = "${seed.path}/bin/busybox";
  args = [
    "sh"
    "-eu"
    ./unpack.sh
  ];
  unpackDebs = ./unpack-debs.sh;
  finish = ./finish.sh;
  documentation = if documentation then "1" else "";
  allowSubstitutes = false;
}
