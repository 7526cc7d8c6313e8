lib: {
  storeName = [
    {
      expr = lib.artifact.storeName "pool/main/b/x_1%3a2~rc1_amd64.deb";
      expected = "x_1-2-rc1_amd64.deb";
    }
    {
      expr = lib.artifact.storeName "torch-2.9.1+cu128-cp311.whl";
      expected = "torch-2.9.1+cu128-cp311.whl";
    }
  ];
  unique = [
    {
      expr = lib.artifact.unique [
        { name = "b"; }
        { name = "a"; }
        { name = "b"; }
      ];
      expected = [
        { name = "a"; }
        { name = "b"; }
      ];
    }
  ];
}
