# GPU architectures as torch writes them ("9.0a") and as ptxas does ("sm_90a").
{ check }:
let
  # What ptxas 12.8.93 takes (`ptxas --help`), from Volta on: torch 2.9.1+cu128 runs on nothing older.
  known = [
    "7.0"
    "7.2"
    "7.5"
    "8.0"
    "8.6"
    "8.7"
    "8.9"
    "9.0"
    "9.0a"
    "10.0"
    "10.0a"
    "10.1"
    "10.1a"
    "12.0"
    "12.0a"
  ];
in
{
  inherit known;

  /**
    The name that ptxas and cuobjdump use.

    Type: toSm :: String -> String

    Example: toSm "9.0a" => "sm_90a"
  */
  toSm = arch: "sm_" + builtins.replaceStrings [ "." ] [ "" ] arch;

  /**
    Findings on a list of architectures: empty when every one is known to ptxas 12.8 and the list is not empty.

    Type: findings :: [String] -> [String]

    Example: findings [ "12.0" ] => [ ]
  */
  findings =
    archs:
    let
      wanted = "CUDA 12.8 architectures out of ${builtins.concatStringsSep " " known}";
      remedy = "edit cudaArchs in nix/settings.nix or override it";
      bad = builtins.filter (arch: !builtins.elem arch known) archs;
    in
    if !builtins.isList archs || archs == [ ] then
      [
        (check.finding {
          where = "cudaArchs";
          got = archs;
          inherit wanted remedy;
        })
      ]
    else
      map (
        got:
        check.finding {
          where = "cudaArchs";
          inherit got wanted remedy;
        }
      ) bad;
}
