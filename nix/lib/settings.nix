# Checks on nix/settings.nix, before anything is evaluated with it.
{ arch, check }:
let
  # One table of CPU features a -march entry, for the build, the loader and the proof alike.
  marches = builtins.attrNames (builtins.fromJSON (builtins.readFile ../ktransformers/march.json));
in
{
  inherit marches;

  /**
    The settings when they hold, else one error that names every wrong value and the allowed ones.

    Inputs: `settings` as in nix/settings.nix, `locked` the versions that the locks hold, by the settings' names.

    Type: validate :: { settings, locked } -> Settings
  */
  validate =
    { settings, locked }:
    let
      known = [
        "compressionLevel"
        "cudaArchs"
        "image"
        "march"
        "versions"
      ];
      unknown = builtins.filter (name: !builtins.elem name known) (builtins.attrNames settings);
      badMarch =
        if !builtins.isList settings.march || settings.march == [ ] then
          [ settings.march ]
        else
          builtins.filter (march: !builtins.elem march marches) settings.march;
      wrongVersion = builtins.filter (
        name: locked ? ${name} && settings.versions.${name} != locked.${name}
      ) (builtins.attrNames settings.versions);
    in
    check.orThrow (
      map (
        got:
        check.finding {
          where = "nix/settings.nix";
          inherit got;
          wanted = "settings out of ${builtins.concatStringsSep " " known}";
          remedy = "take it out or correct its name";
        }
      ) unknown
      ++ arch.findings settings.cudaArchs
      ++ map (
        got:
        check.finding {
          where = "march";
          inherit got;
          wanted = "a list of -march names that clang 19 has: ${builtins.concatStringsSep " " marches}";
          remedy = "edit march in nix/settings.nix or override it (never native: the image would depend on its build host)";
        }
      ) badMarch
      ++ map (
        name:
        check.finding {
          where = "versions.${name}";
          got = settings.versions.${name};
          wanted = "what the lock holds, ${locked.${name}}";
          remedy = "run `make lock` after a change of version, or set it back";
        }
      ) wrongVersion
    ) settings;
}
