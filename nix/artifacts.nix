# Every artifact that the locks name, as a fixed-output derivation. Its builder can only say that the artifact is missing:
# bytes come in through `make fetch`, which adds them to the store under the same name and hash.
{
  clientLocks,
  lib,
  locks,
  seed,
  system,
}:
let
  derive =
    record:
    derivation {
      inherit (record) name;
      inherit system;
      builder = "${seed.path}/bin/busybox";
      args = [
        "sh"
        "-c"
        "echo 'leviathan: artifact ${record.name} is not in the store; run: ${record.remedy or "make fetch"}' >&2; exit 1"
      ];
      outputHashMode = "flat";
      outputHashAlgo = "sha256";
      outputHash = record.sha256;
      preferLocalBuild = true;
      allowSubstitutes = false;
    };

  sourceRecord = entry: entry // {
    kind = "pypi";
    name = lib.artifact.storeName entry.filename;
  };

  debian = group: lib.debian.records { lock = locks.debian; inherit group; };
  tool = groups: lib.poetry.records { lock = locks.tool; inherit groups; where = "poetry.lock"; };
  engine = groups: lib.poetry.records { lock = locks.engine; inherit groups; where = "nix/locks/engine/poetry.lock"; };

  # What no test loads is not fetched.
  client =
    name:
    let
      unused = (builtins.fromJSON (builtins.readFile ./locks/clients/unused.json)).${name};
      records = lib.poetry.records {
        lock = clientLocks.${name};
        groups = [ "main" ];
        where = "nix/locks/clients/${name}/poetry.lock";
      };
    in
    builtins.filter (record: !(builtins.hasAttr record.package unused)) records;

  # What the tool's Python and its tests are made of: no CUDA, no torch.
  development = lib.artifact.unique (
    builtins.concatMap debian [ "build" "tool" "check" ]
    ++ tool [ "main" "test" "lint" ]
    ++ engine [ "build" ]
    ++ [ (sourceRecord locks.sources.json-schema-test-suite) ]
  );

  everything = lib.artifact.unique (
    builtins.concatMap debian (builtins.attrNames locks.debian.groups)
    ++ tool [ "main" "test" "lint" ]
    ++ engine [ "main" "build" "toolkit" "test" ]
    ++ builtins.concatMap client (builtins.attrNames clientLocks)
    ++ map sourceRecord (builtins.attrValues locks.sources)
  );

  withPaths =
    records:
    [ (seed.record // { store = seed.path.outPath; }) ]
    ++ map (record: record // { store = (derive record).outPath; }) records;
in
{
  inherit
    client
    derive
    debian
    tool
    engine
    ;

  /**
    The wheel of one package of the engine's lock, as a list that an environment variable takes.

    Type: wheel :: Group -> Package -> [Derivation]
  */
  wheel =
    group: package: map derive (builtins.filter (record: record.package == package) (engine [ group ]));

  /**
    One of nix/locks/sources.json, as a store path.

    Type: source :: String -> Derivation
  */
  source = name: derive (sourceRecord locks.sources.${name});

  # What `fetch` reads: each record with the store path that it becomes.
  records = withPaths everything;
  developmentRecords = withPaths development;
}
