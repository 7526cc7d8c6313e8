# Parts of this repository as store paths that change only when their own files change.
_:
let
  caches = [
    "__pycache__"
    ".pytest_cache"
    ".mypy_cache"
    ".ruff_cache"
    ".hypothesis"
  ];
  notCache = file: !builtins.elem (baseNameOf file) caches;
in
rec {
  /**
    A folder of the repository under a fixed name, without caches.

    Type: take :: { name, path } -> StorePath
  */
  take =
    { name, path }:
    builtins.path {
      inherit name path;
      filter = file: _: notCache file;
    };

  /**
    Some entries of a folder, under a fixed name.

    Inputs: `keep` paths below `path`: files, or folders with all that is in them.

    Type: pick :: { name, path, keep } -> StorePath
  */
  pick =
    {
      name,
      path,
      keep,
    }:
    let
      root = toString path + "/";
      isBelow = folder: file: builtins.substring 0 (builtins.stringLength folder + 1) file == folder + "/";
      wanted =
        file:
        let
          below = builtins.substring (builtins.stringLength root) (-1) file;
        in
        builtins.any (entry: entry == below || isBelow entry below || isBelow below entry) keep;
    in
    builtins.path {
      inherit name path;
      filter = file: _: notCache file && wanted file;
    };

  /**
    Modules of one of the tools' packages, importable with PYTHONPATH at the result: what does not need the rest of the
    package is not rebuilt when the rest changes.

    Type: modules :: { package, keep } -> StorePath
  */
  modules =
    { package, keep }:
    pick {
      name = package;
      path = ../tools;
      keep = map (module: "${package}/${module}") keep;
    };
}
