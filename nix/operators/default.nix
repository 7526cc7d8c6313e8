# The compiled half of leviathan_operators: its CUDA sources through our nvcc, for the same architectures as KTransformers'.
{
  runInRootfs,
  settings,
  source,
  toolkit,
}:
let
  sources = source.pick {
    name = "leviathan-operators-kernels";
    path = ../../tools/leviathan_operators/kernels;
    keep = [
      "decode_steps.cu"
      "device.h"
      "gguf_blocks.h"
      "gguf_decode.cu"
      "gguf_dots.h"
      "gguf_experts.cu"
      "page_locked.cpp"
      "staging.cpp"
    ];
  };
in
runInRootfs {
  name = "leviathan-operators";
  script = ''
    export LEVIATHAN_NVCC_REPORT_DIR=$report
    mkdir -p $report
    bash ${./build.sh} ${toolkit} ${sources} "${toString settings.cudaArchs}" \
      $out/usr/local/lib/python3.11/dist-packages/leviathan_operators/kernels
  '';
  env.outputs = [
    "out"
    "report"
  ];
}
