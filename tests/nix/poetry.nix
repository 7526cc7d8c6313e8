lib:
let
  wheel = name: [
    {
      file = "${name}-1-py3-none-any.whl";
      hash = "sha256:0${toString (builtins.stringLength name)}";
    }
  ];
  lock.package = [
    {
      name = "aa";
      version = "1";
      groups = [
        "main"
        "test"
      ];
      files = wheel "aa";
    }
    {
      name = "b_b";
      version = "1";
      groups = [ "main" ];
      markers = "sys_platform == \"win32\"";
      files = wheel "b_b";
    }
    {
      name = "cccc";
      version = "1";
      groups = [
        "main"
        "test"
      ];
      markers = {
        main = "sys_platform == \"win32\"";
        test = "sys_platform == \"linux\"";
      };
      files = wheel "cccc";
    }
    {
      name = "sdist-only";
      version = "1";
      groups = [ "odd" ];
      files = [
        {
          file = "sdist-only-1.tar.gz";
          hash = "sha256:00";
        }
      ];
    }
  ];
  names = groups: map (package: package.name) (lib.poetry.packages { inherit lock groups; });
in
{
  environment = [
    {
      expr = lib.poetry.environment.python_version;
      expected = "3.11";
    }
  ];
  packages = [
    {
      expr = names [ "main" ];
      expected = [ "aa" ];
    }
    {
      expr = names [ "test" ];
      expected = [
        "aa"
        "cccc"
      ];
    }
  ];
  records = [
    {
      expr = lib.poetry.records {
        inherit lock;
        groups = [ "main" ];
        where = "poetry.lock";
      };
      expected = [
        {
          kind = "pypi";
          package = "aa";
          version = "1";
          filename = "aa-1-py3-none-any.whl";
          name = "aa-1-py3-none-any.whl";
          sha256 = "02";
          size = null;
        }
      ];
    }
    {
      expr = lib.poetry.records {
        inherit lock;
        groups = [ "odd" ];
        where = "poetry.lock";
      };
      throws = true;
    }
  ];
  version = [
    {
      expr = lib.poetry.version lock "b-b";
      expected = "1";
    }
    {
      expr = lib.poetry.version lock "absent";
      expected = null;
    }
  ];
}
