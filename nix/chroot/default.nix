# A builder that runs inside Debian trees: overlayfs over them in the Nix sandbox, entered with pivot_root.
{
  buildRootfs,
  seed,
  system,
}:
/**
  Runs a bash script in a root file system put together from trees, with the build folder as /build and a writable overlay
  that is thrown away. $out is the derivation's output as usual.

  Inputs: `name`, `script` the path of a bash script or its text, `trees` store paths (the first wins where two hold a file;
  default: the build rootfs), `env` further variables of the derivation.

  Type: runInRootfs :: { name, script, trees ? [ buildRootfs ], env ? { } } -> Derivation
*/
{
  name,
  script,
  trees ? [ buildRootfs ],
  env ? { },
}:
derivation (
  {
    inherit
      name
      script
      system
      trees
      ;
    seed = seed.path;
    builder = "${seed.path}/bin/busybox";
    args = [
      "sh"
      "-eu"
      ./enter.sh
    ];
    mountScript = ./mount.sh;
    passAsFile = if builtins.isPath script then [ ] else [ "script" ];
    allowSubstitutes = false;
  }
  // env
)
