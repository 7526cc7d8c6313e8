# KTransformers' CPU extension for this very CPU: `-march=native`, by the shipped recipe and by upstream's compiler.
# The flags of /proc/cpuinfo are an input, so that another CPU means another derivation, never another's machine code.
{ cpuFlags }:
let
  stages = import ../../nix { self = { }; };
  modules = [
    "__init__"
    "compilers"
    "cpu"
    "march"
  ];
  recipe = stages.source.pick {
    name = "native-recipe";
    path = ../../nix/ktransformers;
    keep = [ "build.py" ] ++ map (module: "recipe/${module}.py") modules;
  };
  native =
    name:
    { cc, cxx }:
    stages.runInRootfs {
      name = "cpuinfer-native-${name}";
      env.table = builtins.toJSON { native.adds = builtins.filter builtins.isString (builtins.split " " cpuFlags); };
      script = ''
        cp -r ${recipe} /build/recipe
        chmod -R u+w /build/recipe
        printf %s "$table" >/build/recipe/march.json
        python3 /build/recipe/build.py cpu --source ${stages.engine.sources} --march native --cc ${cc} --cxx ${cxx} \
          --cuda-home ${stages.cudaRuntime} --jobs $NIX_BUILD_CORES --out /build/out
        mkdir $out
        find /build/out -name '*.so' -exec cp {} $out/cpuinfer_ext.so ';'
        ${cc} -march=native -E -v -x c /dev/null 2>&1 | grep -o -e '-target-cpu [^ ]*' -e '-march=[^ ]*' | head -n 1 >$out/cpu
      '';
    };
in
{
  clang = native "clang" {
    cc = "clang-19";
    cxx = "clang++-19";
  };
  gcc = native "gcc" {
    cc = "gcc-12";
    cxx = "g++-12";
  };
  cudart = stages.cudaRuntime;
}
