# The environments of the public clients that tests/clients runs: name of a lock in nix/locks/clients -> tree.
{
  artifacts,
  clientLocks,
  mkPoetryEnv,
}:
builtins.mapAttrs (
  name: _:
  mkPoetryEnv {
    name = "clients-${name}";
    records = artifacts.client name;
  }
) clientLocks
