# Headers that the image leaves out and a build needs, torch's and Triton's: laid over python.torch.
{ artifacts, runInRootfs }:
runInRootfs {
  name = "python-headers";
  script = ''
    packages=$out/usr/local/lib/python3.11/dist-packages
    mkdir -p $packages
    unzip -q $torch 'torch/include/*' -d $packages
    unzip -q $triton 'triton/backends/nvidia/include/*' -d $packages
  '';
  env = {
    torch = artifacts.wheel "main" "torch";
    triton = artifacts.wheel "main" "triton";
  };
}
