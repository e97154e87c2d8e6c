# Conformance of a backend, as a program (included by tests/tests.mk):
#
#   make conformance BACKEND=path/to/libmine.a                        everything the archive brings
#   make conformance BACKEND=path/to/libmine.a ONLY="layernorm 130"   only calls in whose names all of these occur
#   make conformance                                                  the CPU backend itself
#   make check-conformance                                            the worked example: accepted, and with a mistake rejected
#
# The tables of cases are those of tests/backend, compiled a second time with other names for main, vvt_op_suite and vvt_run.
# Files without such a table (test_elementary.c, about the CPU's own) add nothing.
CONF_FILES := $(patsubst tests/backend/test_%.c,%,$(sort $(wildcard tests/backend/test_*.c)))
CONF       := $(BUILD)/conformance/conformance
CONF_OBJ   := $(CONF_FILES:%=$(BUILD)/obj/conformance/test_%.o) $(BUILD)/obj/tests/conformance/conformance.o \
              $(BUILD)/obj/tests/conformance/elementary.o $(BUILD)/obj/conformance/own.o
CONF_TAG   := $(if $(filter double,$(REAL)),f64,f32)
ONLY       ?=

$(BUILD)/obj/conformance/test_%.o: tests/backend/test_%.c Makefile
	@mkdir -p $(@D)
	$(Q)$(CC) $(CPPFLAGS) -Itests $(shell pkg-config --cflags check 2>/dev/null) -Dmain=vvt_main_$* \
	    -Dvvt_op_suite=vvt_conformance_suite -Dvvt_run=vvt_conformance_run $(FLAGS) $(CFLAGS) -Wno-missing-prototypes \
	    -MMD -MP -c $< -o $@

# The test files, and the contract's functions that the archive defines, by their whole symbol: another version or precision is
# not ours. Made anew when it would read differently: two archives of one name share a folder.
.PHONY: conformance-own
$(BUILD)/conformance/own.c: conformance-own
	@mkdir -p $(@D)
	@own=$$(nm -g $(filter-out cpu,$(BACKEND)) 2>/dev/null | sed -n 's/.* [TW] _\{0,1\}vvb2_$(CONF_TAG)_\(.*\)/\1/p' | sort | tr '\n' ' '); \
	    { echo "/* $$(cksum $(if $(filter cpu,$(BACKEND)),/dev/null,$(BACKEND))) */"; \
	      echo "extern const char *const vvt_own;"; \
	      echo "void vvt_all_files(void);"; \
	      $(foreach f,$(CONF_FILES),echo "int vvt_main_$(f)(void);";) \
	      echo "void vvt_all_files(void) { $(foreach f,$(CONF_FILES),vvt_main_$(f)();) }"; \
	      echo "const char *const vvt_own = $(if $(filter cpu,$(BACKEND)),(void *)0,\"$${own% }\");"; } >$@.new; \
	    if cmp -s $@.new $@; then rm $@.new; else mv $@.new $@; fi
$(BUILD)/obj/conformance/own.o: $(BUILD)/conformance/own.c
	@mkdir -p $(@D)
	$(Q)$(CC) $(FLAGS) $(CFLAGS) -c $< -o $@

$(CONF): $(CONF_OBJ) $(call obj,$(TEST_HELP)) $(LIB) $(filter-out cpu,$(BACKEND))
	@mkdir -p $(@D)
	$(Q)$(CC) $(FLAGS) $(CFLAGS) $(LDFLAGS) $(CONF_OBJ) $(call obj,$(TEST_HELP)) $(BACKEND_LINK) $(LIB) $(CHECK_LIBS) $(LDLIBS) -o $@

.PHONY: conformance check-conformance
conformance: $(CONF)
	@$(CONF) $(ONLY)

check-conformance:
	@sh tests/conformance/run.sh
