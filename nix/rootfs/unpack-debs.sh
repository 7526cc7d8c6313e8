# Unpacks the .debs that the arguments name into $out; with $documentation also dpkg's record of each for scanners.
set -o pipefail
for deb; do
  case $(ar t "$deb") in
    *data.tar.xz*) ar p "$deb" data.tar.xz | xz -dc ;;
    *data.tar.gz*) ar p "$deb" data.tar.gz | gzip -dc ;;
    *)
      echo "leviathan: ${deb##*/} holds no data.tar.xz or data.tar.gz" >&2
      exit 255 # ends xargs
      ;;
  esac | tar -x -C "$out"
  [ -z "$documentation" ] || {
    mkdir -p "$out/var/lib/dpkg/status.d"
    control=$(ar p "$deb" control.tar.xz | xz -dc | tar -xO ./control)
    package=$(echo "$control" | sed -n 's/^Package: //p')
    echo "$control" >"$out/var/lib/dpkg/status.d/$package"
  }
done
