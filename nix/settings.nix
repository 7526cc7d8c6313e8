# What a user of this flake changes: here, or with `leviathan.lib.override { march = [ "znver5" ]; }` from a flake of their own.
{
  # GPU architectures of the engine's kernels, as torch writes them: H100/H200, B100/B200, RTX 50 and RTX PRO Blackwell.
  cudaArchs = [
    "9.0a"
    "10.0"
    "12.0"
  ];

  # One CPU extension each, best first; the launcher loads the first that the CPU can run.
  march = [
    "znver5"
    "znver4"
    "sapphirerapids"
    "icelake-server"
    "x86-64-v4"
    "x86-64-v3"
  ];

  versions = {
    cuda = "12.8";
    torch = "2.9.1";
    ktransformers = "0.2.1.post1";
  };

  image = {
    name = "omni/engine";
    tag = "leviathan-standard";
  };

  # zstd level of the image's layers: the budget against the time to build (docs/adr/0006).
  compressionLevel = 9;
}
