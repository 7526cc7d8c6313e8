lib: {
  finding = [
    {
      expr = lib.check.finding {
        where = "march";
        got = "znver9";
        wanted = "one of znver4";
        remedy = "edit nix/settings.nix";
      };
      expected = "march: got \"znver9\", wanted one of znver4; edit nix/settings.nix";
    }
    {
      expr = lib.check.finding {
        where = "cudaArchs";
        got = [ ];
        wanted = "a list";
        remedy = "set it";
      };
      expected = "cudaArchs: got [], wanted a list; set it";
    }
  ];
  orThrow = [
    {
      expr = lib.check.orThrow [ ] 1;
      expected = 1;
    }
    {
      expr = lib.check.orThrow [ "a" ] 1;
      throws = true;
    }
  ];
}
