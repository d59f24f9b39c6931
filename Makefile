# Makefile - a thin front for CMake: `make help` lists what there is.

BUILD ?= build
PREFIX ?= /usr/local
DESTDIR ?=
JOBS ?= $(shell nproc 2>/dev/null || echo 2)
CMAKE_ARGS ?=

# A compiler named on the command line or in the environment; without one CMake chooses.
ifneq ($(origin CC),default)
compiler = -DCMAKE_C_COMPILER="$(CC)"
endif
ifeq ($(V),1)
verbose = --verbose
else
quiet = >/dev/null
endif

# CMake runs a make of its own, which must not inherit this one's options.
configure = cmake -S . -B $(BUILD) -DCMAKE_BUILD_TYPE=Release $(compiler) $(CMAKE_ARGS)
build = env -u MAKEFLAGS -u MAKELEVEL cmake --build $(BUILD) --parallel $(JOBS) $(verbose)

.PHONY: all test demo bench-peers install check-style clean help
.NOTPARALLEL:

all:
	@tools/install_deps.sh build
	@$(configure) -DBUILD_TESTING=OFF $(quiet)
	@$(build)

test:
	@tools/install_deps.sh build test
	@$(configure) -DBUILD_TESTING=ON $(quiet)
	@$(build)
	@env -u MAKEFLAGS -u MAKELEVEL ctest --test-dir $(BUILD) --output-on-failure --parallel 2

# OpenMP's waiting threads spin; a limit keeps them from holding up one another on a busy machine.
demo: all
	@$(BUILD)/tinymoe
	@echo
	@echo "One expert layer of this model alone, its experts as stored and quantized anew: gathermm moe. The error is that of"
	@echo "the layer's output, next to double precision; the bound is how near f32's part of it came to the proven limit."
	@GOMP_SPINCOUNT=5000 $(BUILD)/gathermm moe examples/tinymoe --layers 1 --tokens 1,512 --seconds 0.2 \
	    --formats affine8,affine4,mxfp4,nvfp4,affine2

bench-peers: all
	@JOBS=$(JOBS) bench/peers/install_peers.sh $(BUILD)
	@$(configure) -DGATHERMM_PEERS=ON $(quiet)
	@$(build)
	@$(BUILD)/peers/venv/bin/python bench/peers/run.py --folder $(BUILD)/peers $(ARGS)

install:
	@tools/install_deps.sh build
	@$(configure) -DBUILD_TESTING=OFF -DCMAKE_INSTALL_PREFIX="$(PREFIX)" $(quiet)
	@$(build)
	@DESTDIR="$(DESTDIR)" cmake --install $(BUILD)
	@if [ -z "$(DESTDIR)" ] && [ "$$(id -u)" = 0 ] && command -v ldconfig >/dev/null; then ldconfig; fi

check-style:
	@tools/install_deps.sh build test ci
	@tools/check_format.sh
	@python3 tools/check_layers.py
	@python3 tools/check_names.py
	@tools/check_scripts.sh

clean:
	rm -rf $(BUILD)

help:
	@echo "make               build the library, the command and the examples into $(BUILD)/"
	@echo "make test          build and run all tests"
	@echo "make demo          run a small trained model in every weight format, and the bug that started it"
	@echo "make bench-peers   time other libraries beside this one (ARGS='--help' lists the options)"
	@echo "make install       install into PREFIX=$(PREFIX) (below DESTDIR=, if given)"
	@echo "make check-style   formatting, layers, names, shell scripts"
	@echo "make clean         remove $(BUILD)/"
	@echo
	@echo "V=1 shows the commands, JOBS=n compiles n files at once, CC=clang chooses the compiler, BUILD=dir the folder,"
	@echo "CMAKE_ARGS='-DGATHERMM_OPENMP=OFF' passes options. Sanitizers, coverage, fuzzing: cmake --list-presets."
