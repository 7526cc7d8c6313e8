# CUDA 12.8's compiler out of NVIDIA's wheels, with our nvcc over clang and ptxas (docs/adr/0003).
{
  artifacts,
  runInRootfs,
  source,
}:
let
  driver = source.pick {
    name = "nvcc-driver";
    path = ../../tools;
    keep = [ "leviathan_nvcc" ];
  };
  # torch's headers include these; their libraries no compiler needs.
  headers = [
    "nvidia-cublas-cu12"
    "nvidia-cusolver-cu12"
    "nvidia-cusparse-cu12"
  ];
  wheelsOf = group: keep: map artifacts.derive (builtins.filter (record: keep record.package) (artifacts.engine [ group ]));
in
runInRootfs {
  name = "cuda-toolkit";
  script = ''
    arguments=()
    for wheel in $whole; do
      unzip -q $wheel -d /build/''${wheel##*/}
      arguments+=(/build/''${wheel##*/})
    done
    for wheel in $headers; do
      unzip -q $wheel 'nvidia/*/include/*' '*.dist-info/*' -d /build/''${wheel##*/}
      arguments+=(--headers /build/''${wheel##*/})
    done
    PYTHONPATH=${driver} python3 -m leviathan_nvcc.toolkit --out $out "''${arguments[@]}"
  '';
  env = {
    whole = wheelsOf "toolkit" (_: true);
    headers = wheelsOf "main" (package: builtins.elem package headers);
  };
}
