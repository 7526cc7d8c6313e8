# Lock files as text: what is plainly damaged is named before Nix's parsers, which do not say which file they read.
{ check }:
rec {
  /**
    Why the text of a lock cannot be one, as a list of at most one sentence.

    Type: damage :: String -> [String]

    Example: damage "" => [ "it is empty" ]
  */
  damage =
    text:
    let
      has = part: builtins.replaceStrings [ part ] [ "" ] text != text;
      length = builtins.stringLength text;
    in
    if builtins.match "[[:space:]]*" (builtins.substring 0 80 text) != null then
      [ "it is empty" ]
    else if has "<<<<<<< " || has ">>>>>>> " then
      [ "it has the marks of a merge that was not finished" ]
    else if builtins.substring (length - 1) 1 text != "\n" then
      [ "it is cut off: its last line does not end" ]
    else
      [ ];

  /**
    The content of a lock file: TOML for *.lock, JSON otherwise.

    Inputs: `name` the file's path in the repository, for errors; `path` the file.

    Type: read :: { name, path } -> AttrSet
  */
  read =
    { name, path }:
    let
      text = builtins.readFile path;
      parse = if builtins.match ".*[.]lock" name != null then builtins.fromTOML else builtins.fromJSON;
      sentence = why: "${name} does not parse: ${why}; run: make lock, or restore it: git checkout ${name}";
    in
    check.orThrow (map sentence (damage text)) (
      builtins.addErrorContext "while reading ${name} (restore it: git checkout ${name})" (parse text)
    );
}
