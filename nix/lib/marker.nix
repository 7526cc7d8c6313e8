# Environment markers of PEP 508, as poetry.lock holds them.
_:
let
  # "a == \"b\" and (c)" -> [ "a" "==" "\"b\"" "and" "(" "c" ")" ]
  tokens =
    text:
    builtins.concatMap (
      part:
      if builtins.isList part then
        [ (builtins.head part) ]
      else
        builtins.filter (word: builtins.isString word && word != "") (builtins.split "[ \t\n]+" part)
    ) (builtins.split "(\"[^\"]*\"|'[^']*'|[()]|[<>=!~]=+|[<>])" text);

  unquote =
    token:
    let
      inner = builtins.match "[\"'](.*)[\"']" token;
    in
    if inner == null then null else builtins.head inner;

  value =
    environment: token:
    let
      literal = unquote token;
    in
    if literal != null then
      literal
    else
      environment.${token}
        or (throw "leviathan: marker: unknown variable `${token}`; known: ${builtins.concatStringsSep " " (builtins.attrNames environment)}");

  isVersion = token: builtins.elem token [ "python_version" "python_full_version" "implementation_version" ];

  compare =
    environment: left: operator: right:
    let
      a = value environment left;
      b = value environment right;
      order =
        if isVersion left || isVersion right then
          builtins.compareVersions a b
        else if a < b then
          -1
        else if a == b then
          0
        else
          1;
      operators = {
        "==" = order == 0;
        "!=" = order != 0;
        "<" = order < 0;
        "<=" = order <= 0;
        ">" = order > 0;
        ">=" = order >= 0;
        "in" = builtins.length (builtins.split (escapeRegex a) b) > 1;
      };
    in
    operators.${operator} or (throw "leviathan: marker: unknown operator `${operator}`");

  escapeRegex =
    builtins.replaceStrings
      [ "." "+" "*" "?" "(" ")" "[" "]" "{" "}" "|" "^" "$" "\\" ]
      [ "\\." "\\+" "\\*" "\\?" "\\(" "\\)" "\\[" "\\]" "\\{" "\\}" "\\|" "\\^" "\\$" "\\\\" ];

  drop = n: list: builtins.genList (i: builtins.elemAt list (i + n)) (builtins.length list - n);
  at = builtins.elemAt;

  # Each parser takes the tokens left and gives { result, rest }.
  parseOr =
    environment: input:
    let
      first = parseAnd environment input;
      go =
        acc:
        if acc.rest != [ ] && builtins.head acc.rest == "or" then
          let
            next = parseAnd environment (drop 1 acc.rest);
          in
          go {
            result = acc.result || next.result;
            inherit (next) rest;
          }
        else
          acc;
    in
    go first;

  parseAnd =
    environment: input:
    let
      first = parseAtom environment input;
      go =
        acc:
        if acc.rest != [ ] && builtins.head acc.rest == "and" then
          let
            next = parseAtom environment (drop 1 acc.rest);
          in
          go {
            result = acc.result && next.result;
            inherit (next) rest;
          }
        else
          acc;
    in
    go first;

  parseAtom =
    environment: input:
    if builtins.head input == "(" then
      let
        inner = parseOr environment (drop 1 input);
      in
      {
        inherit (inner) result;
        rest = drop 1 inner.rest;
      }
    else if at input 1 == "not" then
      {
        result = !(compare environment (at input 0) "in" (at input 3));
        rest = drop 4 input;
      }
    else
      {
        result = compare environment (at input 0) (at input 1) (at input 2);
        rest = drop 3 input;
      };
in
{
  /**
    Whether a marker holds in an environment.

    Inputs: `environment` the variables of PEP 508 by name (extra, sys_platform, …), `text` the marker; "" always holds.

    Type: holds :: { String = String } -> String -> Bool

    Example: holds { sys_platform = "linux"; } "sys_platform == \"win32\"" => false
  */
  holds =
    environment: text:
    let
      input = tokens text;
    in
    input == [ ] || (parseOr environment input).result;
}
