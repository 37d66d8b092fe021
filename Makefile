# Everything runs in the environment that ./bootstrap makes; see there for VENV and PYTHON.
VENV ?= .venv
export VENV

CC = gcc
# What the extension and the supervisor are built with, and what only a developer wants to hear.
# GCC 14 says of what dup2 has put at 0 to 2, and of what closes itself (PF_AUTO_FD), that it leaks:
# the tests count descriptors.
ANALYZER_FLAGS = -std=gnu11 -O2 -fanalyzer -Wno-analyzer-fd-leak -Wall -Wextra -Wshadow -Wconversion \
	-Werror

C_CORE = $(wildcard csrc/*/*.c)
C_ALL = $(C_CORE) $(wildcard csrc/*.h csrc/*/*.h tests/c/*.[ch] tests/foreign/*.c tests/fuzz/*.[ch] bench/*.c bench/*.h)
ANALYSES = $(C_CORE:csrc/%.c=analyze/%)

.PHONY: demo test soak fuzz package check lint types format-check analyze tidy format sanitize \
	fuzz-seeds bench docs setup clean $(ANALYSES)

demo:
	sh ./bootstrap demo

test:
	sh ./bootstrap test

check: lint types format-check analyze tidy

lint: setup
	$(VENV)/bin/ruff check
	$(VENV)/bin/lint-imports --no-cache --no-logo

types: setup
	$(VENV)/bin/mypy

format-check: setup
	$(VENV)/bin/ruff format --check
	$(VENV)/bin/clang-format --dry-run --Werror $(C_ALL)

# One compiler per file, two at a time.
analyze:
	@echo "analyzing $(words $(ANALYSES)) C files"
	@$(MAKE) --no-print-directory -j 2 $(ANALYSES)

$(ANALYSES): analyze/%: csrc/%.c
	@$(CC) $(ANALYZER_FLAGS) -Icsrc -c -o /dev/null $<

# What is checked, and what is not and why: .clang-tidy
tidy: setup
	$(VENV)/bin/clang-tidy --quiet $(C_CORE) -- -std=gnu11 -Icsrc

format: setup
	$(VENV)/bin/ruff check --fix --select I
	$(VENV)/bin/ruff format
	$(VENV)/bin/clang-format -i $(C_ALL)

# The C programs of tests/c, built with ASan and UBSan and with TSan.
sanitize:
	sh ./bootstrap test tests/c

# By force: kills at random moments of real runs, and every system call failing once.
SEED ?= 1
KILLS ?= 10000
soak: setup
	$(VENV)/bin/python tests/soak kills --seed $(SEED) --count $(KILLS) --jobs 4
	$(VENV)/bin/python tests/soak faults --jobs 4 --table build/faults.md

# Ten minutes for each harness of tests/fuzz.
fuzz:
	PYFREEZE_FUZZ_SECONDS=600 sh ./bootstrap test tests/fuzz

# The source distribution, the wheel built of it, and that wheel with each Python that is there.
package: setup
	sh tests/package/run $(VENV)

# The committed corpus anew: needed when what is shared between processes changes its layout.
fuzz-seeds:
	@mkdir -p build
	$(CC) -std=gnu11 -Icsrc -o build/fuzz-seeds tests/fuzz/seeds.c \
		csrc/protocol/*.c csrc/base/*.c
	cd build && ./fuzz-seeds ../tests/fuzz/corpus

# The short form, under five minutes; the long one: sh ./bootstrap bench --form full
bench:
	sh ./bootstrap bench

# The API reference, from the docstrings.
docs: setup
	$(VENV)/bin/python docs/reference.py

setup:
	@sh ./bootstrap setup dev

clean:
	rm -rf build dist *.egg-info $(VENV) .hypothesis .mypy_cache .pytest_cache .ruff_cache
	rm -f pyfreeze/_native*.so pyfreeze/pyfreeze-supervisor
	find pyfreeze csrc tests $(wildcard bench) -name __pycache__ -exec rm -rf {} +
