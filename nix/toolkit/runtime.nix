# CUDA's runtime headers and library alone: all that the CPU extensions take of CUDA, so that a change of the compiler
# driver does not build them again.
{ artifacts, runInRootfs }:
runInRootfs {
  name = "cuda-runtime";
  script = ''
    unzip -q $runtime 'nvidia/cuda_runtime/*' -d /build/wheel
    unzip -q $nvcc 'nvidia/cuda_nvcc/include/crt/*' -d /build/wheel
    mkdir $out
    mv /build/wheel/nvidia/cuda_runtime/include /build/wheel/nvidia/cuda_runtime/lib $out/
    mv /build/wheel/nvidia/cuda_nvcc/include/crt $out/include/
    ln -s lib $out/lib64
    ln -s libcudart.so.12 $out/lib/libcudart.so
  '';
  env = {
    runtime = artifacts.wheel "toolkit" "nvidia-cuda-runtime-cu12";
    nvcc = artifacts.wheel "toolkit" "nvidia-cuda-nvcc-cu12";
  };
}
