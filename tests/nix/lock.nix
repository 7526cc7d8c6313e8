lib: {
  damage = [
    {
      expr = lib.lock.damage "{\n}\n";
      expected = [ ];
    }
    {
      expr = lib.lock.damage " \n";
      expected = [ "it is empty" ];
    }
    {
      expr = lib.lock.damage "{\n<<<<<<< HEAD\n}\n";
      expected = [ "it has the marks of a merge that was not finished" ];
    }
    {
      expr = lib.lock.damage "{\n \"a\": 1";
      expected = [ "it is cut off: its last line does not end" ];
    }
  ];

  read = [
    {
      expr = lib.lock.read {
        name = "a.json";
        path = builtins.toFile "a.json" "{ \"a\": 1 }\n";
      };
      expected = {
        a = 1;
      };
    }
    {
      expr = lib.lock.read {
        name = "a.lock";
        path = builtins.toFile "a.lock" "[a]\nb = 1\n";
      };
      expected = {
        a.b = 1;
      };
    }
    {
      expr = lib.lock.read {
        name = "a.json";
        path = builtins.toFile "a.json" "{ \"a\": 1";
      };
      throws = true;
    }
  ];
}
