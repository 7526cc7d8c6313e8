# nix/locks/debian.json: Debian packages by name, version and sha256, in groups that are closed under dependency.
{ artifact, check }:
{
  /**
    The artifact records of one group of the lock.

    Inputs: `lock` the parsed debian.json, `group` a name in it.

    Type: records :: { lock, group } -> [Record]
  */
  records =
    { lock, group }:
    let
      names =
        lock.groups.${group} or (throw (
          "leviathan: "
          + check.finding {
            where = "nix/locks/debian.json";
            got = group;
            wanted = "a group out of ${builtins.concatStringsSep " " (builtins.attrNames lock.groups)}";
            remedy = "add it to nix/locks/debian-roots.json and run `make lock`";
          }
        ));
      record =
        name:
        let
          package = lock.packages.${name};
        in
        {
          kind = "deb";
          package = name;
          name = artifact.storeName package.filename;
          inherit (package)
            architecture
            filename
            sha256
            size
            suite
            version
            ;
        };
    in
    map record names;

  /**
    The record of the seed: the package that holds the static busybox which everything else is unpacked with.

    Type: seed :: Lock -> Record
  */
  seed =
    lock:
    lock.seed
    // {
      kind = "seed";
      name = "seed";
      inherit (lock) architecture;
    };
}
