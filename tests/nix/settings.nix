lib:
let
  good = import ../../nix/settings.nix;
  locked = {
    torch = "2.9.1";
    ktransformers = "0.2.1.post1";
  };
  validate =
    changes:
    lib.settings.validate {
      settings = good // changes;
      inherit locked;
    };
  # What the error says cannot be read back in Nix; scripts and the check `settings-messages` read it from outside.
  rejected = changes: {
    expr = validate changes;
    throws = true;
  };
in
{
  marches = [
    {
      expr = builtins.elem "native" lib.settings.marches;
      expected = false;
    }
  ];
  validate = [
    {
      expr = validate { };
      expected = good;
    }
    {
      expr = (validate { march = [ "znver4" ]; }).march;
      expected = [ "znver4" ];
    }
    (rejected { march = [ "znver9" ]; })
    (rejected { march = [ "native" ]; })
    (rejected { march = [ ]; })
    (rejected { march = "znver4"; })
    (rejected { cudaArchs = [ "9.9" ]; })
    (rejected { cudaArchs = [ ]; })
    (rejected { colour = "red"; })
    (rejected {
      versions = good.versions // {
        torch = "2.8.0";
      };
    })
  ];
}
