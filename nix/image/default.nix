# The image: trees become layers, layers become an OCI layout. Layers stand in the order of how often they change.
{
  artifacts,
  engine,
  lib,
  launcher,
  mkBytecode,
  mkRootfs,
  operators,
  python,
  runInRootfs,
  settings,
  source,
}:
let
  compression = toString settings.compressionLevel;

  # What the layers' bytes depend on, and nothing else of the package: a new check does not compress torch again.
  layerModules = source.modules {
    package = "leviathan_image";
    keep = [
      "__init__.py"
      "errors.py"
      "jsonfile.py"
      "layer.py"
      "modes.py"
      "tarwriter.py"
      "tree.py"
      "zstdpipe.py"
    ];
  };
  tools = source.pick {
    name = "leviathan-image-tools";
    path = ../../tools;
    keep = [ "leviathan_image" ];
  };

  rootfs = mkRootfs {
    group = "image";
    documentation = true;
  };

  modes = runInRootfs {
    name = "image-modes";
    script = "python3 ${./modes.py} $out ${rootfs}";
    env.debs = map artifacts.derive (artifacts.debian "image");
  };

  mkLayer =
    {
      name,
      comment,
      trees,
      modes ? "",
    }:
    runInRootfs {
      name = "layer-${name}";
      script = "PYTHONPATH=${layerModules} python3 ${./layer.py}";
      env = {
        layer = name;
        layerTrees = trees;
        inherit comment compression modes;
      };
    };

  # Lowest first; each with the byte code of its own Python files.
  contents = map (
    layer: layer // { trees = layer.trees ++ [ (mkBytecode { inherit (layer) name trees; }) ]; }
  ) parts;
  parts = [
    {
      name = "debian";
      comment = "Debian 12 base, Python 3.11, numactl";
      trees = [ rootfs ];
      inherit modes;
    }
    {
      name = "torch";
      comment = "torch ${settings.versions.torch}+cu128, CUDA ${settings.versions.cuda} libraries, Triton";
      trees = [ python.torch ];
    }
    {
      name = "python";
      comment = "the engine's other Python packages";
      trees = [ python.other ];
    }
    {
      name = "engine";
      comment = "KTransformers ${settings.versions.ktransformers} for ${toString settings.cudaArchs}; ${toString settings.march}";
      trees = engine.trees ++ [ operators ];
    }
    {
      name = "launcher";
      comment = "what starts in the pod";
      trees = [ launcher ];
    }
  ];
  layers = map mkLayer contents;

  lockHash = builtins.hashString "sha256" (
    builtins.concatStringsSep "" (
      map builtins.readFile [
        ../locks/debian.json
        ../locks/sources.json
        ../locks/engine/poetry.lock
      ]
    )
  );

  config = builtins.toFile "image-config.json" (
    builtins.toJSON {
      entrypoint = [
        "python3"
        "-m"
        "leviathan_engine"
      ];
      env = {
        PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
        LC_ALL = "C.UTF-8";
        PYTHONDONTWRITEBYTECODE = "1";
        PYTHONUNBUFFERED = "1";
        # The runbook's two cards differ in size: CUDA's own order is by speed and may change.
        CUDA_DEVICE_ORDER = "PCI_BUS_ID";
        NVIDIA_VISIBLE_DEVICES = "all";
        NVIDIA_DRIVER_CAPABILITIES = "compute,utility";
        HF_HUB_OFFLINE = "1";
        # Kernels and launchers compiled at build time come first; there is no C compiler in the image.
        TRITON_LIBCUDA_PATH = "/usr/lib/x86_64-linux-gnu"; # where the NVIDIA runtime mounts it; else Triton asks ldconfig
        TRITON_CACHE_MANAGER = "triton_shipped:CacheManager";
      };
      exposedPorts = [ "30000/tcp" ];
      workdir = "/";
      labels = {
        "org.opencontainers.image.title" = settings.image.name;
        "org.opencontainers.image.version" = "${settings.versions.ktransformers}-cu128-torch${settings.versions.torch}";
        "org.opencontainers.image.description" = "KTransformers with CUDA ${settings.versions.cuda} kernels, without DeepGEMM";
        "org.opencontainers.image.licenses" = "Apache-2.0";
        "leviathan.cuda.archs" = toString settings.cudaArchs;
        "leviathan.cpu.march" = toString settings.march;
        "leviathan.locks.sha256" = lockHash;
      };
    }
  );

  layout = runInRootfs {
    name = "leviathan-image";
    script = ''
      PYTHONPATH=${tools} python3 -m leviathan_image layout --ref ${settings.image.name}:${settings.image.tag} \
        --config ${config} --out $out $(printf -- '--layer %s ' $layers)
    '';
    env.layers = layers;
  };
in
{
  inherit
    contents
    layers
    layout
    tools
    ;

  # The whole image as trees, the uppermost layer first, as overlayfs wants them.
  trees = builtins.concatMap (layer: layer.trees) (
    builtins.genList (i: builtins.elemAt contents (builtins.length contents - 1 - i)) (
      builtins.length contents
    )
  );

  report = runInRootfs {
    name = "image-report";
    script = ''
      mkdir $out
      digest=$(python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))["manifests"][0]["digest"])' ${layout}/index.json)
      PYTHONPATH=${tools} python3 -m leviathan_image table --budget ${../budget.json} $layers >$out/table.txt || {
        cat $out/table.txt >&2
        exit 1
      }
      {
        echo "image   ${settings.image.name}:${settings.image.tag}"
        echo "digest  $digest"
        echo "folder  ${layout}"
        echo
        cat $out/table.txt
      } >$out/report.txt
    '';
    env.layers = layers;
  };
}
