# The uppermost layer: our own code in the pod.
{ runInRootfs, source }:
let
  code = source.pick {
    name = "leviathan-engine-code";
    path = ../../tools;
    keep = [
      "leviathan_engine"
      "leviathan_operators"
    ];
  };
in
runInRootfs {
  name = "launcher";
  script = ''
    packages=$out/usr/local/lib/python3.11/dist-packages
    mkdir -p $packages $out/models # the disk is mounted there, on a root that may be read-only
    cp -r ${code}/* $packages/
    chmod -R u+w $out
    find $packages/leviathan_operators/kernels -name '*.cu' -delete -o -name '*.cpp' -delete -o -name '*.h' -delete
  '';
}
