# Judging the judge (included by tests/tests.mk): do the golden files find mistakes, and do they let right programs pass?
#
#   make judge          all planted mistakes and all right programs, then golden/JUDGED.md (half an hour on two cores)
#   make judge-sample   a fixed sample of both, in less than a minute
#   make orders BLAS=none   $(ORDERS): see below
#
# Both judge by the committed golden files, with the float BLAS=none build, whose bits are the same everywhere.
# $(ORDERS), the command with other orders of summation and other forms of the same functions, chosen in the environment: what floors
# are measured with (VARIANT="product=lanes:8,norm=one-pass" $(ORDERS) golden make ...; tests/judge/variant.h, orders/orders.c). Float
# and BLAS=none alone; without exp=libm its bits are the same everywhere, as those of that build are.
ORDERS      := $(BUILD)/versavit-orders
ORDERS_FORM := linear_fwd layernorm_fwd layernorm_bwd rmsnorm_fwd gelu_fwd gelu_bwd silu_mul_fwd sigmoid_fwd softplus_fwd add_bwd dot \
               sum_squares resize_bilinear_fwd attention_fwd linear_cross_entropy_fwd adamw
ORDERS_OBJ  := $(BUILD)/obj/judge/gemm.o $(call obj,tests/judge/variant.c tests/judge/orders/orders.c)

$(BUILD)/obj/judge/gemm.o: ref/backend/cpu/gemm.c tests/judge/orders/cblas.h Makefile
	@mkdir -p $(@D)
	$(Q)$(CC) -Itests/judge/orders $(CPPFLAGS) -Iref/backend/cpu -DVV_CBLAS $(FLAGS) $(CFLAGS) -MMD -MP -c $< -o $@
$(ORDERS): $(call obj,$(CLI_SRC)) $(ORDERS_OBJ) $(LIB)
	$(Q)$(CC) $(FLAGS) $(CFLAGS) $(LDFLAGS) $(call obj,$(CLI_SRC)) $(ORDERS_OBJ) $(ORDERS_FORM:%=-Wl$(comma)--wrap=vvb2_f32_%) $(LIB) $(LDLIBS) -o $@
	@echo "built    $@"

JUDGE_CASES := $(filter-out %-full.json,$(sort $(wildcard data/cases/*.json)))
.PHONY: judge judge-sample judge-run orders
orders: $(ORDERS)
judge:
	@$(SUB) judge-run BLAS=none; status=$$?; tests/judge/page build/judge golden/JUDGED.md && echo "golden/JUDGED.md" && exit $$status
judge-sample:
	@$(SUB) judge-run BLAS=none JUDGE_PLANT="--sample 10" JUDGE_VARIANTS="--sample 6"

judge-run: export JUDGE_CC := $(CC) $(CPPFLAGS) $(FLAGS) $(CFLAGS)
judge-run: export JUDGE_LIBS := $(LDLIBS)
judge-run: $(LIB)
	@JUDGE_DIR=$(CURDIR)/build/judge JUDGE_LIB=$(CURDIR)/$(LIB) JUDGE_GOLDEN=golden JUDGE_CASES="$(JUDGE_CASES)" \
	    sh -c 'tests/judge/plant $(JUDGE_PLANT); a=$$?; tests/judge/variants $(JUDGE_VARIANTS) && exit $$a'
