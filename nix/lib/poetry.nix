# poetry.lock (version 2.1) as artifact records. poetry2nix's job, of which it keeps the names; see docs/adr/0001.
{
  artifact,
  check,
  marker,
  wheel,
}:
let
  # CPython 3.11 in Debian 12 on x86-64: what the image and the tool run on.
  environment = {
    implementation_name = "cpython";
    implementation_version = "3.11.2";
    os_name = "posix";
    platform_machine = "x86_64";
    platform_python_implementation = "CPython";
    platform_release = "";
    platform_system = "Linux";
    platform_version = "";
    python_full_version = "3.11.2";
    python_version = "3.11";
    sys_platform = "linux";
    extra = "";
  };

  normal = name: builtins.replaceStrings [ "_" "." ] [ "-" "-" ] name;

  # `markers` is one string for all groups, or a set by group.
  holdsIn =
    package: group:
    let
      markers = package.markers or "";
      text = if builtins.isString markers then markers else markers.${group} or "";
    in
    builtins.elem group package.groups && marker.holds environment text;

  /**
    The packages of the lock that the groups need in the image's environment.

    Type: packages :: { lock, groups } -> [Package]
  */
  packages =
    { lock, groups }: builtins.filter (package: builtins.any (holdsIn package) groups) lock.package;

  /**
    The artifact records of those packages: one wheel each.

    Inputs: `lock` the parsed poetry.lock, `groups` names of dependency groups, `where` the lock's path for messages.

    Type: records :: { lock, groups, where } -> [Record]
  */
  records =
    {
      lock,
      groups,
      where,
    }:
    let
      chosen = map (package: {
        inherit package;
        file = wheel.select package.files;
      }) (packages { inherit lock groups; });
      findings = map (
        entry:
        check.finding {
          where = "${where}: ${entry.package.name} ${entry.package.version}";
          got = map (file: file.file) entry.package.files;
          wanted = "a wheel for CPython 3.11 on manylinux x86_64";
          remedy = "lock a version that has one";
        }
      ) (builtins.filter (entry: entry.file == null) chosen);
      record =
        { package, file }:
        {
          kind = "pypi";
          package = package.name;
          inherit (package) version;
          filename = file.file;
          name = artifact.storeName file.file;
          sha256 = builtins.replaceStrings [ "sha256:" ] [ "" ] file.hash;
          size = null;
        };
    in
    check.orThrow findings (map record chosen);

  /**
    The locked version of one package, null when the lock has none.

    Type: version :: Lock -> String -> String | null

    Example: version { package = [ { name = "torch"; version = "2.9.1"; } ]; } "torch" => "2.9.1"
  */
  version =
    lock: name:
    let
      found = builtins.filter (package: normal package.name == normal name) lock.package;
    in
    if found == [ ] then null else (builtins.head found).version;
in
{
  inherit
    environment
    packages
    records
    version
    ;
}
