#!/bin/bash
# On the machine with the GPU: takes one piece of the image's tree after another, then unpacks them.
#   stage.sh take FOLDER     checks FOLDER/part.* against FOLDER/SHA256 and keeps it
#   stage.sh unpack          joins, checks and unpacks everything into $TREE, adds the driver's libraries
#   stage.sh enter CMD...    runs CMD inside, with the image's environment
set -euo pipefail
KEEP=${KEEP:-/tmp/pieces} TREE=${TREE:-/tmp/tree}

take() {
  mkdir -p "$KEEP"
  (cd "$1" && sha256sum -c --quiet SHA256)
  cp "$1"/part.* "$KEEP"/
  ls "$KEEP" | tr '\n' ' '
}

unpack() {
  mkdir -p "$TREE"
  cat "$KEEP"/part.* | tar -x -C "$KEEP"
  rm "$KEEP"/part.*
  (cd "$KEEP" && sha256sum -c --quiet SHA256.files)
  xz -dc "$KEEP/rest.tar.xz" | tar -x -p -C "$TREE" &
  while read -r name path; do
    (mkdir -p "$KEEP/out" && xz -dc "$KEEP/$name" > "$KEEP/out/$name") &
  done < "$KEEP/PATHS"
  wait
  finish
}

finish() {
  while read -r name path; do
    mkdir -p "$(dirname "$TREE/$path")"
    mv "$KEEP/out/$name" "$TREE/$path"
    chmod 755 "$TREE/$path"
  done < "$KEEP/PATHS"
  (cd "$TREE" && sha256sum -c --quiet "$KEEP/SHA256.tree") && echo "tree: every library has the sha256 it was sent with"
  local driver
  driver=$(dirname "$(ldconfig -p | awk '/libcuda.so.1 /{print $NF; exit}')")
  echo "driver: $driver"
  cp -L "$driver"/libcuda.so.1 "$driver"/libnvidia-*.so.* "$TREE/usr/lib/x86_64-linux-gnu/"
  cp -L "$(command -v nvidia-smi)" "$TREE/usr/bin/"
  find "$TREE/usr/lib/x86_64-linux-gnu" -maxdepth 1 -name '*nvidia*' | wc -l
  for folder in dev proc sys; do mount --rbind "/$folder" "$TREE/$folder"; done
  mkdir -p "$TREE/t" "$TREE/models"
}

enter() {
  exec chroot "$TREE" /usr/bin/env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/tmp \
    LC_ALL=C.UTF-8 PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 CUDA_DEVICE_ORDER=PCI_BUS_ID HF_HUB_OFFLINE=1 \
    TRITON_CACHE_MANAGER=triton_shipped:CacheManager TRITON_LIBCUDA_PATH=/usr/lib/x86_64-linux-gnu "$@"
}

"$@"
