# Conformance of a backend, as a program (included by tests/tests.mk):
#
#   make conformance BACKEND=path/to/libmine.a                        everything the archive brings
#   make conformance BACKEND=path/to/libmine.a ONLY="layernorm 130"   only calls in whose names all of these occur
#   make conformance                                                  the CPU backend itself
#   make grade OP=layernorm SRC=mine.c [UNTRUSTED=1]                  the functions of one C file or archive: scripts/grade
#   make check-conformance                                            the worked example: accepted, and with a mistake rejected
#
# The tables of cases are those of tests/backend, compiled a second time with other names for main, vvt_op_suite and vvt_run.
# Files without such a table (test_elementary.c, about the CPU's own) add nothing.
CONF_FILES := $(patsubst tests/backend/test_%.c,%,$(sort $(wildcard tests/backend/test_*.c)))
CONF       := $(BUILD)/conformance/conformance
CONF_OBJ   := $(CONF_FILES:%=$(BUILD)/obj/conformance/test_%.o) $(call obj,$(sort $(wildcard tests/conformance/*.c)))
CONF_TAG   := $(if $(filter double,$(REAL)),f64,f32)
ONLY       ?=

$(BUILD)/obj/conformance/test_%.o: tests/backend/test_%.c Makefile
	@mkdir -p $(@D)
	$(Q)$(CC) $(CPPFLAGS) -Itests $(shell pkg-config --cflags check 2>/dev/null) -Dmain=vvt_main_$* \
	    -Dvvt_op_suite=vvt_conformance_suite -Dvvt_run=vvt_conformance_run $(FLAGS) $(CFLAGS) -Wno-missing-prototypes \
	    -MMD -MP -c $< -o $@

# The test files, and the contract's functions that the archive defines, by their whole symbol: another version or precision is
# not ours. Made anew when it would read differently: two archives of one name share a folder. $(1): the archive, or nothing
define write_own
@mkdir -p $(@D)
@own=$$(nm -g $(1) 2>/dev/null | sed -n 's/.* [TW] _\{0,1\}vvb2_$(CONF_TAG)_\(.*\)/\1/p' | sort | tr '\n' ' '); \
    { echo "/* $$(cksum $(or $(1),/dev/null)) */"; \
      echo "extern const char *const vvt_own;"; \
      echo "void vvt_all_files(void);"; \
      $(foreach f,$(CONF_FILES),echo "int vvt_main_$(f)(void);";) \
      echo "void vvt_all_files(void) { $(foreach f,$(CONF_FILES),vvt_main_$(f)();) }"; \
      echo "const char *const vvt_own = $(if $(1),\"$${own% }\",(void *)0);"; } >$@.new; \
    if cmp -s $@.new $@; then rm $@.new; else mv $@.new $@; fi
endef
.PHONY: conformance-own
$(BUILD)/conformance/own.c: conformance-own $(filter-out cpu,$(BACKEND))
	$(call write_own,$(filter-out cpu,$(BACKEND)))
$(BUILD)/obj/conformance/%.o: $(BUILD)/conformance/%.c
	@mkdir -p $(@D)
	$(Q)$(CC) $(FLAGS) $(CFLAGS) -c $< -o $@

$(CONF): $(CONF_OBJ) $(BUILD)/obj/conformance/own.o $(call obj,$(TEST_HELP)) $(LIB) $(filter-out cpu,$(BACKEND))
	@mkdir -p $(@D)
	$(Q)$(CC) $(FLAGS) $(CFLAGS) $(LDFLAGS) $(CONF_OBJ) $(BUILD)/obj/conformance/own.o $(call obj,$(TEST_HELP)) $(BACKEND_LINK) $(LIB) $(CHECK_LIBS) $(LDLIBS) -o $@

# ---- one C file, or an archive of a few functions: SRC -------------------------------------------------------------------------
# Compiled as the library is, except that GNU C is welcome and warnings are its author's; KERNEL_CFLAGS adds flags.
SRC   ?=
OP    ?=
GRADE := $(BUILD)/grade/$(basename $(notdir $(SRC)))
ifneq ($(SRC),)
$(GRADE)/kernel.a: conformance-own
	@mkdir -p $(@D)
	@rm -f $@
ifeq ($(suffix $(SRC)),.a)
	@cp $(SRC) $@
else
	@$(CC) $(CPPFLAGS) $(filter-out -std=% -pedantic -W%,$(FLAGS)) $(CFLAGS) -std=gnu11 -Wall $(KERNEL_CFLAGS) -c $(SRC) -o $(GRADE)/kernel.o
	@$(AR) rcs $@ $(GRADE)/kernel.o
endif
$(GRADE)/own.c: $(GRADE)/kernel.a
	$(call write_own,$(GRADE)/kernel.a)
$(GRADE)/own.o: $(GRADE)/own.c
	$(Q)$(CC) $(FLAGS) $(CFLAGS) -c $< -o $@
$(GRADE)/conformance: $(CONF_OBJ) $(GRADE)/own.o $(GRADE)/kernel.a $(call obj,$(TEST_HELP)) $(LIB)
	$(Q)$(CC) $(FLAGS) $(CFLAGS) $(LDFLAGS) $(CONF_OBJ) $(GRADE)/own.o $(call obj,$(TEST_HELP)) $(call whole_archive,$(GRADE)/kernel.a) \
	    $(LIB) $(CHECK_LIBS) $(LDLIBS) -o $@
endif

# scripts/grade builds with the second, which says where things are
.PHONY: grade grade-build
grade:
	@scripts/grade $(if $(UNTRUSTED),--untrusted) $(if $(SEED),--seed $(SEED)) $(if $(LIMIT),--limit $(LIMIT)) "$(OP)" "$(SRC)"
grade-build: $(CONF) $(GRADE)/conformance
	@echo "judge=$(CONF) folder=$(GRADE) tag=$(CONF_TAG)"

.PHONY: conformance check-conformance
conformance: $(CONF)
	@$(CONF) $(ONLY)

check-conformance:
	@sh tests/conformance/run.sh
	@sh tests/conformance/grade.sh
