#!/bin/bash
# pack.sh LAYOUT FOLDER: the image (an OCI layout) as pieces for a machine with an NVIDIA GPU of compute capability 9.0
# and no network; docs/gpu.md says what is left out and why. Each FOLDER/piece.NN goes there alone: stage.sh take.
set -euo pipefail
cd "$(dirname "$0")/../.."
layout=$1 folder=$2 tree=$2/tree pieces=$2/pieces
CUT=${CUT:-42M} # of a piece; a call takes 64 MiB, the repository included
BIG=16M         # from this size on a library travels as a file of its own
LIB=usr/local/lib/python3.11/dist-packages/nvidia
mkdir -p "$tree" "$pieces"

for digest in $(python3 - "$layout" <<'PY'
import json, pathlib, sys
blobs = pathlib.Path(sys.argv[1]) / "blobs" / "sha256"
index = json.loads((blobs.parent.parent / "index.json").read_text())
manifest = json.loads((blobs / index["manifests"][0]["digest"].removeprefix("sha256:")).read_text())
print(*(layer["digest"].removeprefix("sha256:") for layer in manifest["layers"]))
PY
); do
  zstd -dcq <"$layout/blobs/sha256/$digest" | tar -x -p -C "$tree"
done

# --empty: linked by torch and never called by this engine. --drop: opened by name only, and never here.
empty=() drop=()
for name in cufft curand cusparse cusparselt nccl nvshmem cufile; do empty+=(--empty "/$LIB/$name/*"); done
for name in cusolver cuda_nvrtc; do drop+=(--drop "/$LIB/$name/lib/*.so*"); done
PYTHONPATH=tools python3 tests/gpu/slim.py "$tree" "$folder/slim.json" --arch 90 --arch 90a --whole '*KTransformersOps*' \
  "${empty[@]}" --empty '*/libtorch_nvshmem.so' "${drop[@]}" --drop "/$LIB/cudnn/lib/libcudnn_*" \
  --drop '*/libtorch_cuda_linalg.so' >"$folder/slim.log"

(cd "$tree" && find . -type f -size +$BIG -name '*.so*' | sort) >"$folder/big"
: >"$pieces/PATHS"
number=0
while read -r path; do
  number=$((number + 1))
  echo "lib$number.xz ${path#./}" >>"$pieces/PATHS"
done <"$folder/big"
xargs -P "$(nproc)" -L 1 sh -c 'xz --x86 --lzma2=preset=2 -c "'"$tree"'/$1" >"'"$pieces"'/$0"' <"$pieces/PATHS"
tar -c -C "$tree" --exclude-from="$folder/big" . | xz -2 -T0 >"$pieces/rest.tar.xz"
cut -d' ' -f2 "$pieces/PATHS" | (cd "$tree" && xargs sha256sum) >"$pieces/SHA256.tree"
(cd "$pieces" && sha256sum ./*.xz >SHA256.files)
tar -c -C "$pieces" . | split -b "$CUT" -d - "$folder/part."
for part in "$folder"/part.*; do
  piece=$folder/piece.${part##*.}
  mkdir -p "$piece"
  mv "$part" "$piece/"
  (cd "$piece" && sha256sum part.* >SHA256)
done
rm -r "$pieces"
du -shc "$folder"/piece.*
