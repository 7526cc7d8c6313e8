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
        path = ./files/whole.json;
      };
      expected = {
        a = 1;
      };
    }
    {
      expr = lib.lock.read {
        name = "a.lock";
        path = ./files/whole.lock;
      };
      expected = {
        a.b = 1;
      };
    }
    {
      expr = lib.lock.read {
        name = "a.json";
        path = ./files/cut.json;
      };
      throws = true;
    }
  ];
}
