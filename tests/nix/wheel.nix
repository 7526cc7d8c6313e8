lib:
let
  files = map (file: {
    inherit file;
    hash = "sha256:00";
  });
  chosen =
    names:
    let
      file = lib.wheel.select (files names);
    in
    if file == null then null else file.file;
in
{
  parse = [
    {
      expr = lib.wheel.parse "six-1.17.0-py2.py3-none-any.whl";
      expected = {
        distribution = "six";
        version = "1.17.0";
        pythons = [
          "py2"
          "py3"
        ];
        abis = [ "none" ];
        platforms = [ "any" ];
      };
    }
    {
      expr = (lib.wheel.parse "a-1-2build-cp311-cp311-manylinux1_x86_64.manylinux_2_5_x86_64.whl").platforms;
      expected = [
        "manylinux1_x86_64"
        "manylinux_2_5_x86_64"
      ];
    }
    {
      expr = lib.wheel.parse "a-1.tar.gz";
      expected = null;
    }
  ];
  rank = [
    {
      expr = lib.wheel.rank "x-1-cp312-cp312-manylinux_2_17_x86_64.whl";
      expected = null;
    }
    {
      expr = lib.wheel.rank "x-1-cp311-cp311-manylinux_2_39_x86_64.whl"; # newer than Debian 12's glibc
      expected = null;
    }
    {
      expr = lib.wheel.rank "x-1-cp311-cp311-musllinux_1_2_x86_64.whl";
      expected = null;
    }
    {
      expr =
        lib.wheel.rank "x-1-cp311-cp311-manylinux_2_17_x86_64.whl"
        < lib.wheel.rank "x-1-cp39-abi3-manylinux_2_17_x86_64.whl";
      expected = true;
    }
  ];
  select = [
    {
      expr = chosen [
        "x-1.tar.gz"
        "x-1-py3-none-any.whl"
        "x-1-cp311-cp311-win_amd64.whl"
        "x-1-cp311-cp311-manylinux2014_x86_64.whl"
        "x-1-cp311-cp311-manylinux_2_28_x86_64.whl"
      ];
      expected = "x-1-cp311-cp311-manylinux_2_28_x86_64.whl";
    }
    {
      expr = chosen [
        "x-1-cp36-abi3-manylinux2010_x86_64.whl"
        "x-1-py3-none-any.whl"
      ];
      expected = "x-1-cp36-abi3-manylinux2010_x86_64.whl";
    }
    {
      expr = chosen [ "x-1.tar.gz" ];
      expected = null;
    }
  ];
}
