# Second half, in the user namespace: overlay the trees, make them the root, run the script.
state=/build/.leviathan
lower=
i=0
for tree in $trees; do # short names: mount options are limited to one page
  ln -s "$tree" "$state/lower/$i"
  lower=$lower${lower:+:}$i
  i=$((i + 1))
done
mount -t tmpfs -o mode=755 none "$state/writable"
mkdir "$state/writable/upper" "$state/writable/work"
cd "$state/lower"
mount -t overlay -o "userxattr,lowerdir=$lower,upperdir=../writable/upper,workdir=../writable/work" none "$state/root" || {
  echo "leviathan: overlayfs cannot be mounted in a user namespace (Linux 5.11 or newer has it); run: modprobe overlay" >&2
  exit 1
}
cd "$state/root"
mkdir -p proc dev nix build tmp old-root root
mount --rbind /proc proc
mount --rbind /dev dev
mount --rbind /nix nix
mount --bind /build build
mount --bind /build/tmp tmp
pivot_root . old-root
cd /build
umount -l /old-root
rmdir /old-root

export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin
export HOME=/root TMPDIR=/tmp LC_ALL=C.UTF-8 SOURCE_DATE_EPOCH=1 PYTHONHASHSEED=0 PYTHONDONTWRITEBYTECODE=1
exec bash -euo pipefail "${scriptPath:-$script}"
