lib: {
  known = [
    {
      expr = builtins.elem "12.0" lib.arch.known;
      expected = true;
    }
  ];
  toSm = [
    {
      expr = lib.arch.toSm "9.0a";
      expected = "sm_90a";
    }
    {
      expr = lib.arch.toSm "10.0";
      expected = "sm_100";
    }
  ];
  findings = [
    {
      expr = lib.arch.findings [
        "9.0a"
        "12.0"
      ];
      expected = [ ];
    }
    {
      # every wrong value gets its line, and the line names the allowed ones
      expr = map (line: builtins.match ".*got \"(9.9|sm_90)\".*12\\.0a.*nix/settings\\.nix.*" line) (
        lib.arch.findings [
          "9.9"
          "9.0a"
          "sm_90"
        ]
      );
      expected = [
        [ "9.9" ]
        [ "sm_90" ]
      ];
    }
    {
      expr = builtins.length (lib.arch.findings [ ]);
      expected = 1;
    }
    {
      expr = builtins.length (lib.arch.findings "9.0a");
      expected = 1;
    }
  ];
}
