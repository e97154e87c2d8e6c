# Tests: one executable per tests/FOLDER/test_NAME.c, run in the order of the layers; the first failing file stops the run.
TEST_LAYERS := base io data backend tape ops nn loss model optim train golden eval
TEST_SRC    := $(foreach l,$(TEST_LAYERS),$(sort $(wildcard tests/$(l)/test_*.c)))
TEST_HELP   := $(sort $(wildcard tests/*.c tests/oracle/*.c))
TEST_BIN    := $(TEST_SRC:%.c=$(BUILD)/%)
CHECK_LIBS  := $(or $(shell pkg-config --libs check 2>/dev/null),-lcheck)
GOLDEN      := $(filter-out %-full,$(basename $(notdir $(wildcard data/cases/*.json))))

$(BUILD)/obj/tests/%.o: CPPFLAGS += -Itests $(shell pkg-config --cflags check 2>/dev/null)

$(BUILD)/tests/%: $(BUILD)/obj/tests/%.o $(call obj,$(TEST_HELP)) $(LIB) $(filter-out cpu,$(BACKEND))
	@mkdir -p $(@D)
	$(Q)$(CC) $(FLAGS) $(CFLAGS) $(LDFLAGS) $< $(call obj,$(TEST_HELP)) $(BACKEND_LINK) $(LIB) $(CHECK_LIBS) $(LDLIBS) -o $@
.PRECIOUS: $(BUILD)/obj/%.o

# tests of this flavour: all of them, or those of some layers (LAYERS="base tape")
LAYERS ?= $(TEST_LAYERS)
RUN    := $(foreach l,$(LAYERS),$(filter $(BUILD)/tests/$(l)/%,$(TEST_BIN)))
.PHONY: run-tests
run-tests: $(RUN) $(COMMAND)
	@for t in $(RUN); do \
	    VERSAVIT=$(COMMAND) $$t >$(BUILD)/test.log 2>&1; status=$$?; grep -aE '^(skipped|untrusted|note):' $(BUILD)/test.log; \
	    if [ $$status = 77 ]; then printf '%-52s %s\n' "$$t" skipped; continue; fi; \
	    if [ $$status != 0 ]; then cat $(BUILD)/test.log; echo "FAILED: repeat with  $$t"; exit 1; fi; \
	    printf '%-52s %s\n' "$$t" "$$(grep -aE '^[0-9]+%' $(BUILD)/test.log | tail -n 1)"; done

# threads that wait sleep: spinning ones steal the time of whatever else runs, and tests alternate between many short regions
export OMP_WAIT_POLICY ?= passive

# ---- what people call ---------------------------------------------------------------------------------------------
# JOBS: compilations at a time in the flavours that these targets build
JOBS := $(shell getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2)
SUB   = $(MAKE) --no-print-directory -j$(JOBS)

.PHONY: smoke table4 check check-all check-cli check-golden check-torch check-python check-examples golden demo lint format clean
smoke: deps
	@$(SUB) build
	@sh scripts/demo $(COMMAND) build/smoke --updates 2
	@$(SUB) check-golden

# Table 4 in the small, five seeds: an hour on two cores; build/table4/table4.md
table4: deps
	@$(SUB) build
	@scripts/table4 $(COMMAND) build/table4

ifneq ($(CUDA),)
# what there is to check on a device, or one line that nothing was
check: deps
	@$(SUB) build $(CONF)
	@$(COMMAND) info data/configs/micro.json >/dev/null 2>$(BUILD)/device.log; if [ $$? = 4 ]; then echo "skipped: all tests: $$(cat $(BUILD)/device.log)"; else \
	    $(CONF) --summary && $(SUB) run-tests LAYERS="$(or $(CUDA_LAYERS),tape ops nn loss model optim train golden eval)" && $(SUB) check-golden; fi
else
check: deps
	@$(SUB) run-tests
	@$(SUB) run-tests REAL=double
	@$(SUB) run-tests REAL=double BLAS=none LAYERS="golden"
	@$(SUB) check-cli
	@$(SUB) check-golden
endif

check-cli: build
	@set -e; for t in tests/cli/run.sh tests/cli/golden.sh tests/cli/alloc.sh tests/link/run.sh tests/api/run.sh; do echo "== $$t"; sh $$t $(COMMAND); done

# this flavour's recordings against the committed ones
check-golden: build
	@mkdir -p $(BUILD)/golden
	@set -e; for c in $(GOLDEN); do $(COMMAND) golden make $$c -o $(BUILD)/golden/$$c --from golden/$$c; \
	    $(COMMAND) golden check golden/$$c $(BUILD)/golden/$$c; done

# The truth is the double BLAS=none build, whose bits are the same everywhere; the floors are what float ones lose, in nine
# orders of summation.
golden: deps
	@$(SUB) build REAL=double BLAS=none
	@$(SUB) build orders BLAS=none
	@scripts/make-golden build/double-none/versavit build/float-none/versavit build/float-none/versavit-orders golden $(GOLDEN)
	@build/double-none/versavit golden list golden --write

# against PyTorch and transformers, live; the first time makes a virtual environment (build/torch-venv)
check-torch: deps
	@$(SUB) build build/tests/loss/losses build/tests/model/test_dpt_torch build/tests/train/updates
	@$(SUB) build REAL=double build/double-openblas/tests/loss/losses build/double-openblas/tests/train/updates
	@set -e; python=$$(scripts/torch/setup); \
	    for c in tower losses layers pixels tokenizer language depth_head mask_head updates; do echo "== check_$$c"; $$python scripts/torch/check_$$c.py; done
	@$(MAKE) --no-print-directory check-python
	@$$(scripts/examples/setup) scripts/examples/check_examples.py --quick

# the checker that needs numpy only, and its verdicts against this flavour's; PYTHON=python3 takes any that has numpy
check-python: build
	@VERSAVIT=$(COMMAND) PYTHONDONTWRITEBYTECODE=1 $${PYTHON:-$$(scripts/torch/setup)} -m unittest discover -s tests/python

# other programs on the golden files: PyTorch, ONNX Runtime, JAX; every alarm is false
check-examples: deps
	@$$(scripts/examples/setup) scripts/examples/check_examples.py --compile

check-all: check
	@VVT_EXHAUSTIVE=1 $(SUB) run-tests LAYERS=backend
	@$(SUB) run-tests BLAS=none
	@$(SUB) run-tests SAN=1
	@$(SUB) run-tests CC=clang
	@sh tests/cli/alloc.sh $(COMMAND) all
	@$(SUB) check-conformance
	@scripts/check-blas-flavours
	@scripts/check-golden-bytes
	@scripts/install-deps --arm64 || true
	@scripts/check-arm64
	@$(SUB) check-examples

# the whole method on the tiny configuration, and the check of the tower's recording
demo: deps
	@$(SUB) build
	@sh scripts/demo $(COMMAND) demo
	@echo; echo "5. a forward and a backward of the tower, every tensor recorded -> demo/tower-micro, checked against golden/"
	@$(COMMAND) golden make tower-micro -o demo/tower-micro
	@$(COMMAND) golden check golden/tower-micro demo/tower-micro
	@echo; echo "look at:  demo/report.html"
	@echo "next:     $(COMMAND) caption data/samples/shapes.png --model demo/run/stage2/model;  $(COMMAND) golden check --help"

C_FILES := $(shell git ls-files '*.c' '*.h' 2>/dev/null || find ref tests -name '*.[ch]')
lint:
	@scripts/check-layers
	@clang-format --dry-run --Werror $(C_FILES)
	@cppcheck --quiet --error-exitcode=1 --std=c99 --enable=warning,portability --inline-suppr \
	    --suppressions-list=scripts/cppcheck.txt -Iref -Itests -DVV_CBLAS -DVV_OPENBLAS -j$(JOBS) -itests/cuda ref tests
	@echo "lint: clean"
format:
	@clang-format -i $(C_FILES)
clean:
	rm -rf build demo

include tests/fuzz.mk
include tests/conformance.mk
include tests/judge/judge.mk
