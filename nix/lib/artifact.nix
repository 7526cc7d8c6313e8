# An artifact is a file from outside: a .deb, a wheel, an sdist. A record says what it is; `fetch` reads the records.
_: {
  /**
    A name the Nix store takes: "~" (Debian's "sorts before") and an epoch's ":" are not allowed there.

    Type: storeName :: String -> String

    Example: storeName "pool/main/b/x_1%3a2~rc1_amd64.deb" => "x_1-2-rc1_amd64.deb"
  */
  storeName =
    path:
    let
      base = baseNameOf path;
    in
    builtins.replaceStrings [ "%3a" ":" "~" ] [ "-" "-" "-" ] base;

  /**
    Records without repetition, by store name; the first of equals stays.

    Type: unique :: [Record] -> [Record]

    Example: unique [ { name = "a"; } { name = "a"; } ] => [ { name = "a"; } ]
  */
  unique =
    records:
    let
      byName = builtins.listToAttrs (
        map (record: {
          inherit (record) name;
          value = record;
        }) records
      );
    in
    map (name: byName.${name}) (builtins.attrNames byName);
}
