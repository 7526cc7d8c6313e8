# Makes $out a Python prefix out of $rootfs (Debian's interpreter and libraries) and $environment (installed wheels).
mkdir -p "$out/bin" "$out/local/lib/python3.11"
ln -s "$rootfs/usr/lib" "$out/lib"
ln -s "$environment/usr/local/lib/python3.11/dist-packages" "$out/local/lib/python3.11/dist-packages"
for program in python3.11 bash; do
  cp "$rootfs/usr/bin/$program" "$out/bin/$program"
  chmod u+w "$out/bin/$program"
  # RPATH, not RUNPATH: it holds for the libraries that a library needs, too.
  patchelf --set-interpreter "$rootfs/usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2" \
    --force-rpath --set-rpath "$rootfs/usr/lib/x86_64-linux-gnu" "$out/bin/$program"
done
ln -s python3.11 "$out/bin/python3"
for script in "$environment"/usr/local/bin/*; do # wheels' own programs (pytest, ruff, mypy) under this interpreter
  [ -e "$script" ] || continue
  name=${script##*/}
  if head -c 2 "$script" | grep -q '#!'; then
    { echo "#!$out/bin/python3"; tail -n +2 "$script"; } >"$out/bin/$name"
    chmod +x "$out/bin/$name"
  else
    cp "$script" "$out/bin/$name"
  fi
done
