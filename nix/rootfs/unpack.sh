# Unpacks $debs into $out and finishes the tree. Run by the seed's shell; see default.nix.
PATH=$NIX_BUILD_TOP/applets
"$seed/bin/busybox" mkdir -p "$PATH"
"$seed/bin/busybox" --install -s "$PATH"
export PATH

# Debian's merged /usr: the packages name /bin and /lib, the links lead them under /usr.
mkdir -p "$out/usr"
for name in bin sbin lib lib64; do
  mkdir -p "$out/usr/$name"
  ln -s "usr/$name" "$out/$name"
done

# Each .deb is independent of the others: they share folders, never files.
echo $debs | xargs -n 4 -P "$NIX_BUILD_CORES" sh -eu "$unpackDebs"

chmod -R u+w "$out"

unshare -r true || {
  echo "leviathan: this host forbids user namespaces inside the build sandbox; run: sysctl -w user.max_user_namespaces=15000 kernel.unprivileged_userns_clone=1" >&2
  exit 1
}
cp "$finish" "$out/finish"
unshare -r chroot "$out" /usr/bin/env -i PATH=/usr/sbin:/usr/bin LC_ALL=C documentation="$documentation" /usr/bin/bash -eu /finish
rm "$out/finish"
