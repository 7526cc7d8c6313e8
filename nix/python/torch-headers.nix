# torch's headers, which the image leaves out and its extensions are compiled with: laid over python.torch for a build.
{ artifacts, runInRootfs }:
runInRootfs {
  name = "torch-headers";
  script = ''
    packages=$out/usr/local/lib/python3.11/dist-packages
    mkdir -p $packages
    unzip -q $torch 'torch/include/*' -d $packages
  '';
  env.torch = map artifacts.derive (
    builtins.filter (record: record.package == "torch") (artifacts.engine [ "main" ])
  );
}
