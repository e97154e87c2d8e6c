# Tests: one executable per tests/FOLDER/test_NAME.c, run in the order of the layers; the first failing file stops the run.
TEST_LAYERS := base io data backend tape ops nn model golden eval cli
TEST_SRC    := $(foreach l,$(TEST_LAYERS),$(sort $(wildcard tests/$(l)/test_*.c)))
TEST_HELP   := $(sort $(wildcard tests/*.c tests/oracle/*.c))
TEST_BIN    := $(TEST_SRC:%.c=$(BUILD)/%)
CHECK_LIBS  := $(or $(shell pkg-config --libs check 2>/dev/null),-lcheck)

$(BUILD)/obj/tests/%.o: CPPFLAGS += -Itests $(shell pkg-config --cflags check 2>/dev/null)

$(BUILD)/tests/%: $(BUILD)/obj/tests/%.o $(call obj,$(TEST_HELP)) $(LIB)
	@mkdir -p $(@D)
	$(Q)$(CC) $(FLAGS) $(CFLAGS) $(LDFLAGS) $< $(call obj,$(TEST_HELP)) $(BACKEND_LINK) $(LIB) $(CHECK_LIBS) $(LDLIBS) -o $@
.PRECIOUS: $(BUILD)/obj/%.o

.PHONY: run-tests
run-tests: $(TEST_BIN) $(COMMAND)
	@for t in $(TEST_BIN); do \
	    echo "== $$t"; VERSAVIT=$(COMMAND) $$t || { echo "FAILED: repeat with  $$t"; exit 1; }; done
