lib:
let
  holds = lib.marker.holds lib.poetry.environment;
in
{
  holds =
    map
      (case: {
        expr = holds (builtins.head case);
        expected = builtins.elemAt case 1;
      })
      [
        [
          ""
          true
        ]
        [
          "sys_platform == \"linux\""
          true
        ]
        [
          "sys_platform == 'win32'"
          false
        ]
        [
          "platform_system == \"Windows\" or sys_platform == \"linux\""
          true
        ]
        [
          "platform_system == \"Linux\" and platform_machine == \"aarch64\""
          false
        ]
        [
          "sys_platform == \"win32\" and sys_platform == \"win32\" or sys_platform == \"linux\""
          true
        ]
        [
          "sys_platform == \"win32\" and (sys_platform == \"win32\" or sys_platform == \"linux\")"
          false
        ]
        [
          "python_version < \"3.9\""
          false
        ]
        [
          "python_version >= \"3.9\""
          true
        ]
        [
          "python_full_version<\"3.11.10\""
          true
        ]
        [
          "platform_machine in \"x86_64 amd64\""
          true
        ]
        [
          "platform_machine not in \"x86_64 amd64\""
          false
        ]
        [
          "implementation_name != \"PyPy\""
          true
        ]
      ]
    ++ [
      {
        expr = holds "colour == \"red\"";
        throws = true;
      }
      {
        expr = holds "sys_platform ~= \"linux\"";
        throws = true;
      }
    ];
}
