lib:
let
  lock = {
    architecture = "amd64";
    groups.image = [ "tar" ];
    packages.tar = {
      version = "1.34~a";
      architecture = "amd64";
      sha256 = "00";
      size = 3;
      suite = "bookworm";
      filename = "pool/main/t/tar/tar_1.34~a_amd64.deb";
    };
    seed = {
      package = "busybox-static";
      narHash = "sha256-x";
    };
  };
in
{
  records = [
    {
      expr = lib.debian.records {
        inherit lock;
        group = "image";
      };
      expected = [
        {
          kind = "deb";
          package = "tar";
          name = "tar_1.34-a_amd64.deb";
          version = "1.34~a";
          architecture = "amd64";
          sha256 = "00";
          size = 3;
          suite = "bookworm";
          filename = "pool/main/t/tar/tar_1.34~a_amd64.deb";
        }
      ];
    }
    {
      expr = lib.debian.records {
        inherit lock;
        group = "absent";
      };
      throws = true;
    }
  ];
  seed = [
    {
      expr = lib.debian.seed lock;
      expected = {
        kind = "seed";
        name = "seed";
        architecture = "amd64";
        package = "busybox-static";
        narHash = "sha256-x";
      };
    }
  ];
}
