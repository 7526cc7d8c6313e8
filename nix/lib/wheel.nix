# File names of wheels (PEP 427), and which of a release's files an interpreter takes (PEP 425, PEP 600).
_:
let
  range = from: to: if from > to then [ ] else builtins.genList (i: from + i) (to - from + 1);
  reverse =
    list:
    builtins.genList (i: builtins.elemAt list (builtins.length list - 1 - i)) (builtins.length list);
  split = separator: text: builtins.filter builtins.isString (builtins.split separator text);

  # glibc 2.36 (Debian 12) downwards, with PEP 600's old names where they belong; newest first, as pip prefers.
  platforms =
    let
      legacy = {
        "17" = [ "manylinux2014_x86_64" ];
        "12" = [ "manylinux2010_x86_64" ];
        "5" = [ "manylinux1_x86_64" ];
      };
    in
    builtins.concatMap (
      minor: [ "manylinux_2_${toString minor}_x86_64" ] ++ (legacy.${toString minor} or [ ])
    ) (reverse (range 5 36))
    ++ [
      "linux_x86_64"
      "any"
    ];

  # CPython 3.11: its own ABI, then the stable ABI of each version before it, then pure Python.
  interpreters =
    [ "cp311-cp311" ]
    ++ map (minor: "cp3${toString minor}-abi3") (reverse (range 2 11))
    ++ [ "cp311-none" ]
    ++ map (minor: "py3${toString minor}-none") [ 11 ]
    ++ [ "py3-none" ];

  indexOf =
    wanted: list:
    let
      go =
        i:
        if i == builtins.length list then
          null
        else if builtins.elemAt list i == wanted then
          i
        else
          go (i + 1);
    in
    go 0;

  /**
    The parts of a wheel's file name; null when it is none.

    Type: parse :: String -> { distribution, version, pythons, abis, platforms } | null

    Example: (parse "six-1.17.0-py2.py3-none-any.whl").pythons => [ "py2" "py3" ]
  */
  parse =
    file:
    let
      parts = builtins.match "([^-]+)-([^-]+)(-[0-9][^-]*)?-([^-]+)-([^-]+)-([^-]+)\\.whl" file;
      at = builtins.elemAt parts;
    in
    if parts == null then
      null
    else
      {
        distribution = at 0;
        version = at 1;
        pythons = split "\\." (at 3);
        abis = split "\\." (at 4);
        platforms = split "\\." (at 5);
      };

  /**
    How well a file suits CPython 3.11 on x86-64 Linux with glibc 2.36: smaller is better, null is not at all.

    Type: rank :: String -> Int | null

    Example: rank "x-1-cp312-cp312-win_amd64.whl" => null
  */
  rank =
    file:
    let
      wheel = parse file;
      candidates = builtins.concatMap (
        python:
        builtins.concatMap (
          abi:
          builtins.concatMap (
            platform:
            let
              i = indexOf "${python}-${abi}" interpreters;
              p = indexOf platform platforms;
            in
            if i == null || p == null then [ ] else [ (i * 100 + p) ]
          ) wheel.platforms
        ) wheel.abis
      ) wheel.pythons;
      min = a: b: if a < b then a else b;
    in
    if wheel == null || candidates == [ ] then
      null
    else
      builtins.foldl' min (builtins.head candidates) candidates;

  /**
    The best of a release's files, null when none suits.

    Type: select :: [{ file, hash }] -> { file, hash } | null

    Example: select [ { file = "a-1-py3-none-any.whl"; hash = "sha256:00"; } ] => { file = "a-1-py3-none-any.whl"; hash = "sha256:00"; }
  */
  select =
    files:
    let
      usable = builtins.filter (entry: rank entry.file != null) files;
      ordered = builtins.sort (a: b: rank a.file < rank b.file) usable;
    in
    if ordered == [ ] then null else builtins.head ordered;
in
{
  inherit parse rank select;
}
