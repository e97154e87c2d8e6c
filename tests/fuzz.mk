# Fuzzing of everything that reads from outside, with clang's libFuzzer and the sanitizers (included by tests/tests.mk).
#
#   make fuzz                       every target for FUZZ_SECONDS; one line each; fails when anything is found
#   make fuzz-safetensors           one of them (npy png jpeg config index tokenizer manifest golden mapping)
#   make fuzz-merge                 adds to tests/fuzz/corpus what the runs found and reaches code nothing there reaches
#   build/fuzz/fuzz_npy FILE        repeats a finding (they are left in build/fuzz/)
#
# Inputs found stay in build/fuzz/corpus and are where the next run begins; `make check` replays tests/fuzz/corpus in
# every flavour (tests/io/test_corpus.c).
FUZZ         := safetensors npy png jpeg config index tokenizer manifest golden mapping
FUZZ_SRC     := tests/fuzz/targets.c $(FUZZ:%=tests/fuzz/fuzz_%.c)
FUZZ_SECONDS ?= 60
FUZZ_JOBS    ?= 2
FUZZ_CC      ?= clang
FUZZ_BUILD   := build/fuzz
FUZZ_FLAGS   := -std=c99 -g -O1 -fno-omit-frame-pointer -ffp-contract=off -fopenmp -fsanitize=fuzzer-no-link,address,undefined \
                -fno-sanitize-recover=undefined -DVVT_LIBFUZZER -DVV_BLAS_NAME='"none"' -Iref -Itests \
                -D_POSIX_C_SOURCE=200809L $(shell pkg-config --cflags $(PC_LIBS) 2>/dev/null)
FUZZ_LIBS    := $(or $(shell pkg-config --libs $(PC_LIBS) 2>/dev/null),-lpng -ljpeg -ljansson -lpcre2-8 -lutf8proc -lnettle -lzip) -lz -lm
fuzz_obj      = $(1:%.c=$(FUZZ_BUILD)/obj/%.o)

# the replay, in the normal builds
$(BUILD)/tests/io/test_corpus: TEST_HELP += $(FUZZ_SRC)
$(BUILD)/tests/io/test_corpus: $(call obj,$(FUZZ_SRC))

$(FUZZ_BUILD)/obj/%.o: %.c tests/fuzz.mk
	@mkdir -p $(@D)
	$(Q)$(FUZZ_CC) $(FUZZ_FLAGS) -MMD -MP -c $< -o $@

$(FUZZ_BUILD)/libversavit.a: $(call fuzz_obj,$(LIB_SRC))
	$(Q)rm -f $@ && $(AR) rcs $@ $^

FUZZ_EXTRA   := tests/fuzz/mutate_png.c tests/fuzz/guard.c
$(FUZZ_BUILD)/fuzz_png: $(call fuzz_obj,tests/fuzz/mutate_png.c)
$(FUZZ_BUILD)/fuzz_png $(FUZZ_BUILD)/fuzz_jpeg: $(call fuzz_obj,tests/fuzz/guard.c)
$(FUZZ_BUILD)/fuzz_png $(FUZZ_BUILD)/fuzz_jpeg: FUZZ_LINK := -Wl,--wrap=vv_calloc -Wl,--wrap=free
$(FUZZ_BUILD)/obj/tests/fuzz/guard.o: FUZZ_FLAGS += -D_DEFAULT_SOURCE
$(FUZZ_BUILD)/fuzz_%: $(FUZZ_BUILD)/obj/tests/fuzz/fuzz_%.o $(call fuzz_obj,tests/fuzz/targets.c) $(FUZZ_BUILD)/libversavit.a
	$(Q)$(FUZZ_CC) $(FUZZ_FLAGS) -fsanitize=fuzzer $(FUZZ_LINK) $(filter %.o,$^) $(FUZZ_BUILD)/libversavit.a $(FUZZ_LIBS) -o $@
.SECONDARY: $(call fuzz_obj,$(FUZZ_SRC) $(FUZZ_EXTRA))

.PHONY: fuzz fuzz-merge $(FUZZ:%=fuzz-%)
fuzz:
	@$(MAKE) --no-print-directory -j$(JOBS) $(FUZZ:%=$(FUZZ_BUILD)/fuzz_%)
	@$(MAKE) --no-print-directory -k -j$(FUZZ_JOBS) $(FUZZ:%=fuzz-%)

$(FUZZ:%=fuzz-%): fuzz-%: $(FUZZ_BUILD)/fuzz_%
	@sh tests/fuzz/run.sh $* $(FUZZ_BUILD) $(FUZZ_SECONDS)

fuzz-merge: $(FUZZ:%=$(FUZZ_BUILD)/fuzz_%)
	@set -e; for t in $(FUZZ); do mkdir -p $(FUZZ_BUILD)/corpus/$$t; \
	    OMP_NUM_THREADS=1 $(FUZZ_BUILD)/fuzz_$$t -merge=1 -use_counters=0 tests/fuzz/corpus/$$t $(FUZZ_BUILD)/corpus/$$t \
	        >$(FUZZ_BUILD)/merge-$$t.log 2>&1; \
	    echo "tests/fuzz/corpus/$$t: $$(ls tests/fuzz/corpus/$$t | wc -l) files, $$(cat tests/fuzz/corpus/$$t/* | wc -c) bytes"; done

-include $(shell find $(FUZZ_BUILD)/obj -name '*.d' 2>/dev/null)
