# Builds libleviathan_operators.so: build.sh TOOLKIT SOURCES "9.0a 10.0 12.0" OUT. The report of nvcc's passes goes to
# LEVIATHAN_NVCC_REPORT_DIR. Symbols are stripped because nvcc puts its process id into their names.
set -eu
toolkit=$1 sources=$2 archs=$3 out=$4
targets=
for arch in $archs; do
  digits=${arch/./}
  targets="$targets -gencode arch=compute_$digits,code=sm_$digits"
done
export CC=clang-19 CXX=clang++-19
mkdir -p "$out" build
cd build
"$toolkit/bin/nvcc" -O3 -std=c++17 $targets -ccbin clang++-19 \
  -Xcompiler -fPIC -Xcompiler -fvisibility=hidden -Xcompiler -Wall \
  -Xcompiler "-ffile-prefix-map=$sources=/src" -Xcompiler "-ffile-prefix-map=$PWD=/build" \
  -shared -cudart shared -Xlinker -rpath -Xlinker '$ORIGIN/../../nvidia/cuda_runtime/lib' \
  -o libleviathan_operators.so "$sources"/*.cu "$sources"/*.cpp
strip -s libleviathan_operators.so
install -m 755 libleviathan_operators.so "$out/"
