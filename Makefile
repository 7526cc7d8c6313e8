# Thin names over the real commands. `make image` and `make check` are the two that a newcomer needs.
NIX := scripts/nix
FETCH := PYTHONPATH=tools python3 -m leviathan_fetch

.PHONY: dev lint notice image image-consumer check check-host e2e fetch lock lock-check repro bench bench-gpu fmt setup

image: fetch
	$(NIX) build .#leviathan-image --out-link result
	$(NIX) build .#image-report --out-link result-report
	@cat result-report/report.txt

# For RTX 30, 40 and 50: the same with kernels for 8.6, 8.9 and 12.0.
image-consumer: fetch
	$(NIX) build .#leviathan-image-consumer --out-link result

check: fetch
	$(NIX) flake check

# What the tool's tests need, and no more: no CUDA, no torch.
dev: setup
	@$(FETCH) lock --check >&2
	@scripts/nix eval --json .#lib.developmentArtifacts | $(FETCH) fetch --artifacts -
	@scripts/development-python >/dev/null
	@echo "all tests of the tool: .leviathan/python/bin/pytest tests/leviathan"
	@echo "one test:              .leviathan/python/bin/pytest tests/leviathan/test_site_file.py -k wrong_file"
	@echo "a shell with them:     scripts/nix develop"

# Form, types, imports, shell and spelling: seconds, and what CI asks first.
lint: dev
	@scripts/lint

# What a build says on a host where something is wrong; calls Nix itself, so it cannot run in the sandbox. Nor can the
# disk tests on real loop devices, which otherwise skip themselves: as root, with loop devices, a skip is a failure.
check-host: fetch
	@scripts/setup check-host
	$(NIX) build .#leviathan-image --no-link
	$(NIX) develop -c pytest tests/host
	LEVIATHAN_DISK=required $(NIX) develop -c pytest -rs tests/leviathan_engine/test_disk_real.py
	LEVIATHAN_HOST=required $(NIX) develop -c pytest -rs tests/leviathan_engine/test_front_slow_clients.py \
	  tests/leviathan_engine/test_privileges.py tests/leviathan_engine/test_read_ahead_disk.py

# The whole way on real parts, on loopback: a real Kubernetes, the real engine on the CPU with a tiny model.
e2e: image
	@scripts/e2e

setup:
	@scripts/setup

fetch: setup
	@$(FETCH) lock --check >&2
	@scripts/nix eval --json .#lib.artifacts | $(FETCH) fetch --artifacts -

lock: setup
	@$(FETCH) lock

lock-check: setup
	@$(FETCH) lock --check
	@PYTHONPATH=tools python3 -m leviathan_fetch.kubernetes check

repro: fetch
	@scripts/repro

# make bench ARGS="size --json": what scripts/bench --help names.
bench: fetch
	@scripts/bench $(ARGS)

# On a machine with an NVIDIA GPU and the image's pieces (docs/gpu.md): this engine next to llama.cpp, in one run.
bench-gpu:
	@bash tests/gpu/bench.sh

# After a change of the locks: the packages of the image with their licences.
notice: fetch
	PYTHONPATH=tools python3 -m leviathan_image.notice \
	  $$($(NIX) build --print-out-paths --no-link .#python-torch) $$($(NIX) build --print-out-paths --no-link .#python-other)

fmt: setup
	$(NIX) fmt
