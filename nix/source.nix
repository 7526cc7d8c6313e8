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
{
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

    Inputs: `keep` names directly below `path`.

    Type: pick :: { name, path, keep } -> StorePath
  */
  pick =
    {
      name,
      path,
      keep,
    }:
    builtins.path {
      inherit name path;
      filter = file: _: notCache file && (dirOf file != toString path || builtins.elem (baseNameOf file) keep);
    };
}
