# `make demo` and `make test` are all a newcomer needs; both set up what is missing. `make help` lists the rest.
PYTHON ?= python3
JOBS ?= $(shell nproc)
export PYTHON CMAKE_PREFIX_PATH

.DEFAULT_GOAL := build
.PHONY: build demo test test-all bench tsan asan format install clean help

build: ## set up and build: the command is build/shoal
	@tools/setup release
	@cmake --build --preset release --parallel $(JOBS)

.PHONY: test-data
test-data:
	@tools/setup release test

demo: build ## train a GPT on real text on two devices, then let it write
	@tools/demo

test: test-data build ## every test, of the equivalence of layouts a small part
	@ctest --preset release --parallel $(JOBS)

test-all: test-data build ## the same with every layout of every model: some minutes more
	@SHOAL_ALL_CELLS=1 ctest --preset release --parallel $(JOBS)

bench: ## W1 beside PyTorch (ARGS="--comparison data --rounds 3" for a quick look)
	@tools/setup release bench
	@cmake --build --preset release --parallel $(JOBS)
	@$(PYTHON) bench/run.py $(ARGS)

tsan: ## the tests that need no LibTorch, under the thread sanitizer
	@tools/setup tsan
	@cmake --build --preset tsan --parallel $(JOBS)
	@ctest --preset tsan --parallel $(JOBS)

asan: ## every test under the address and undefined-behaviour sanitizers
	@tools/setup asan
	@cmake --build --preset asan --parallel $(JOBS)
	@ctest --preset asan --parallel $(JOBS)

format: ## clang-format on every C++ file
	@git ls-files '*.cc' '*.h' | xargs clang-format -i

install: ## into PREFIX=... (headers, library, command, CMake package)
	@test -n "$(PREFIX)" || { echo 'make install - PREFIX: got nothing, want a folder; for example: make install PREFIX=$$HOME/.local' >&2; exit 2; }
	@$(MAKE) --no-print-directory build
	@cmake --install build --prefix "$(PREFIX)"

clean: ## remove the build folders; what was installed into .deps stays
	@rm -rf build build-dev build-asan build-tsan

help:
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' Makefile | expand -t 18
