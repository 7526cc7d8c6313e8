# The seed: Debian's static busybox, the one program that runs before there is a rootfs. `fetch` takes it out of its .deb.
{
  lib,
  locks,
  system,
}:
{
  record = lib.debian.seed locks.debian;

  path = derivation {
    name = "seed";
    inherit system;
    # Nothing can run yet, so the missing program's name is the message.
    builder = "/leviathan: the seed is not in the store; run: make fetch";
    outputHashMode = "recursive";
    outputHashAlgo = "sha256";
    outputHash = locks.debian.seed.narHash;
    preferLocalBuild = true;
    allowSubstitutes = false;
  };
}
