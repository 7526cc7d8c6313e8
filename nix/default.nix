# Everything the flake offers, from the settings: each stage takes the one before it by name.
#   lock -> artifacts -> seed -> rootfs -> toolkit -> engine -> image
{
  self,
  settings ? import ./settings.nix,
  system ? "x86_64-linux",
}:
let
  lib = import ./lib;

  locks = builtins.mapAttrs (_: lib.lock.read) {
    debian = {
      name = "nix/locks/debian.json";
      path = ./locks/debian.json;
    };
    sources = {
      name = "nix/locks/sources.json";
      path = ./locks/sources.json;
    };
    engine = {
      name = "nix/locks/engine/poetry.lock";
      path = ./locks/engine/poetry.lock;
    };
    tool = {
      name = "poetry.lock";
      path = ../poetry.lock;
    };
  };

  # The public clients that tests/clients run, by the release of openai that they stand on; aider pins all it uses.
  clientLocks = builtins.listToAttrs (
    map (name: {
      inherit name;
      value = lib.lock.read {
        name = "nix/locks/clients/${name}/poetry.lock";
        path = ./locks/clients + "/${name}/poetry.lock";
      };
    }) [ "openai-3" "openai-2" "aider" ]
  );

  stages = {
    inherit
      clientLocks
      lib
      locks
      system
      ;
    source = import ./source.nix { };
    revision = self.lastModifiedDate or "";
    settings = lib.settings.validate {
      inherit settings;
      locked = {
        torch = lib.poetry.version locks.engine "torch";
        ktransformers = locks.sources.ktransformers.version;
      };
    };

    artifacts = call ./artifacts.nix { };
    seed = call ./seed.nix { };
    mkRootfs = call ./rootfs { };
    runInRootfs = call ./chroot { };
    buildRootfs = stages.mkRootfs { group = "build"; };
    mkPoetryEnv = call ./python { };
    mkBytecode = call ./python/bytecode.nix { };
    python = call ./python/engine.nix { };
    clients = call ./python/clients.nix { };
    pythonHeaders = call ./python/headers.nix { };
    cudaRuntime = call ./toolkit/runtime.nix { };
    toolkit = call ./toolkit { };
    engine = call ./ktransformers { };
    operators = call ./operators { };
    launcher = call ./image/launcher.nix { };
    image = call ./image { };
    tool = call ./tool { };
    shell = call ./tool/shell.nix { };
    kubernetes = call ./kubernetes { };
    checks = call ./checks { };

    inherit (stages.shell) apps devShell formatter;

    packages = {
      leviathan-image = stages.image.layout;
      leviathan-image-consumer = consumer.image.layout;
      image-report = stages.image.report;
      cuda-toolkit = stages.toolkit;
      ktransformers-ops = stages.engine.cuda;
      inherit (stages) operators;
      python-torch = stages.python.torch;
      python-other = stages.python.other;
      build-rootfs = stages.buildRootfs;
      inherit (stages.shell) leviathan;
      inherit (stages) kubernetes;
      development-python = stages.tool.development;
    };
  };

  # The same for the cards of nix/consumer.nix.
  consumer = import ./. {
    inherit self system;
    settings = settings // import ./consumer.nix;
  };

  # Hands a file the stages that it names in its arguments.
  call =
    file: extra:
    let
      function = import file;
    in
    function (builtins.intersectAttrs (builtins.functionArgs function) stages // extra);
in
stages
// {
  /**
    The same stages with other settings: `override { march = [ "znver5" ]; }`.

    Type: override :: Settings -> Stages
  */
  override =
    changes:
    import ./. {
      inherit self system;
      settings = settings // changes;
    };
}
