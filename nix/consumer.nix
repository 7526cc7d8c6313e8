# What leviathan-image-consumer changes of nix/settings.nix: RTX 30 (8.6), RTX 40 (8.9), RTX 50 and RTX PRO Blackwell (12.0).
{
  cudaArchs = [
    "8.6"
    "8.9"
    "12.0"
  ];
  image = {
    name = "omni/engine";
    tag = "leviathan-consumer";
  };
}
