# Thin names over the real commands. `make image` and `make check` are the two that a newcomer needs.
NIX := scripts/nix
FETCH := PYTHONPATH=tools python3 -m leviathan_fetch

.PHONY: image check check-host fetch lock lock-check repro bench fmt setup

image: fetch
	$(NIX) build .#leviathan-image --out-link result
	$(NIX) build .#image-report --out-link result-report
	@cat result-report/report.txt

check: fetch
	$(NIX) flake check

# What a build says on a host where something is wrong; calls Nix itself, so it cannot run in the sandbox.
check-host: fetch
	$(NIX) build .#leviathan-image --no-link
	$(NIX) develop -c pytest tests/host

setup:
	@scripts/setup

fetch: setup
	@$(FETCH) lock --check >&2
	@scripts/nix eval --json .#lib.artifacts | $(FETCH) fetch --artifacts -

lock: setup
	@$(FETCH) lock

lock-check: setup
	@$(FETCH) lock --check

repro: fetch
	@scripts/repro

bench: fetch
	@scripts/bench

fmt: setup
	$(NIX) fmt
