{
  description = "KTransformers with CUDA 12.8 for Blackwell as a reproducible OCI image, and the tool that deploys it";

  # No inputs: every byte comes from the locks in nix/locks and poetry.lock (docs/adr/0002).
  outputs =
    { self }:
    let
      system = "x86_64-linux";
      stages = import ./nix { inherit self system; };
    in
    {
      packages.${system} = stages.packages // {
        default = stages.packages.leviathan-image;
      };
      apps.${system} = stages.apps;
      checks.${system} = stages.checks;
      # The shell that `nix develop` starts, looked up under the name that nixpkgs has for it (scripts/nix).
      legacyPackages.${system}.bashInteractive = stages.packages.development-python;
      devShells.${system}.default = stages.devShell;
      formatter.${system} = stages.formatter;
      lib = {
        inherit (stages) override;
        artifacts = stages.artifacts.records;
        developmentArtifacts = stages.artifacts.developmentRecords;
      };
    };
}
