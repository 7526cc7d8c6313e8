# Errors that a user reads: which setting, what it got, what it wants, what to do.
_:
let
  show = value: if builtins.isString value then "\"${value}\"" else builtins.toJSON value;
in
{
  /**
    One finding as one line.

    Inputs: `where` the setting or file, `got` any value, `wanted` and `remedy` sentences.

    Type: finding :: { where, got, wanted, remedy } -> String

    Example: finding { where = "march"; got = "znver9"; wanted = "one of znver4"; remedy = "edit nix/settings.nix"; }
    => "march: got \"znver9\", wanted one of znver4; edit nix/settings.nix"
  */
  finding =
    {
      where,
      got,
      wanted,
      remedy,
    }:
    "${where}: got ${show got}, wanted ${wanted}; ${remedy}";

  /**
    Hands `value` on when `findings` is empty, else fails once with all of them, a line each.

    Type: orThrow :: [String] -> a -> a

    Example: orThrow [ ] 1 => 1
  */
  orThrow =
    findings: value:
    if findings == [ ] then
      value
    else
      throw "leviathan: ${builtins.concatStringsSep "\nleviathan: " findings}";
}
