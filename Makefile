# versavit. `make help` lists the targets; every flavour has its own folder under build/, so nothing needs `clean`.
#
#   REAL=float|double   number type of all tensor arithmetic (double is the truth the float build is judged by)
#   BLAS=openblas|none  matrix products; none is our own. Any other CBLAS: BLAS=other BLAS_LIBS=-lmyblas. macOS: BLAS=accelerate
#   ARCH=native|        empty builds for every processor of the architecture
#   SAN=1               address and undefined-behaviour sanitizers
#   BACKEND=cpu|PATH.a  an archive whose vvb_ functions replace those of the CPU backend, one by one
#   BACKEND=cuda        the GPU (ref/backend/cuda/cuda.mk); cuda-standin: its files run on the processor, for tests
#   WERROR=1            warnings are errors

REAL    ?= float
BLAS    ?= openblas
ARCH    ?= native
BACKEND ?= cpu
ifeq ($(origin CC),default)
CC := $(if $(shell command -v gcc),gcc,cc)
endif

ifeq ($(filter $(REAL),float double),)
$(error REAL=$(REAL): expected float or double)
endif
ifeq ($(filter $(BLAS),openblas none accelerate other),)
$(error BLAS=$(BLAS): expected openblas, none, accelerate or other)
endif
CUDA := $(filter cuda cuda-standin,$(BACKEND))
ifneq ($(CUDA),)
override BLAS := none
else ifneq ($(BACKEND),cpu)
ifeq ($(wildcard $(BACKEND)),)
$(error BACKEND=$(BACKEND): no such archive; expected cpu, cuda, cuda-standin or the path of an archive (.a))
endif
endif

CC_NAME := $(notdir $(firstword $(CC)))
FLAVOUR := $(REAL)-$(or $(CUDA),$(BLAS))$(if $(ARCH),,-portable)$(if $(SAN),-san)$(if $(filter gcc,$(CC_NAME)),,-$(CC_NAME))$(if $(filter cpu $(CUDA),$(BACKEND)),,-$(basename $(notdir $(BACKEND))))
BUILD   := $(if $(filter float-openblas,$(FLAVOUR)),build,build/$(FLAVOUR))

# ---- flags ------------------------------------------------------------------------------------------------------
# Never fast-math. -ffp-contract=off keeps the bits of everything outside BLAS the same for every instruction set.
comma    := ,
PC_LIBS  := libpng libjpeg jansson libpcre2-8 libutf8proc nettle libzip
CPPFLAGS += -Iref -D_POSIX_C_SOURCE=200809L $(shell pkg-config --cflags $(PC_LIBS) 2>/dev/null)
CFLAGS   ?= -O3 -g
FLAGS    := -std=c99 -pedantic -Wall -Wextra -Wshadow -Wstrict-prototypes -ffp-contract=off -fno-math-errno \
            -fno-trapping-math -fPIC -fopenmp $(if $(ARCH),-march=$(ARCH)) $(if $(WERROR),-Werror) \
            $(if $(SAN),-fsanitize=address$(comma)undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer)
LDLIBS   += $(or $(shell pkg-config --libs $(PC_LIBS) 2>/dev/null),-lpng -ljpeg -ljansson -lpcre2-8 -lutf8proc -lnettle -lzip) -lm
ifeq ($(REAL),double)
CPPFLAGS += -DVV_DOUBLE
endif
ifeq ($(BLAS),openblas)
CPPFLAGS += -DVV_CBLAS -DVV_OPENBLAS $(shell pkg-config --cflags openblas 2>/dev/null)
LDLIBS   += $(or $(shell pkg-config --libs openblas 2>/dev/null),-lopenblas)
else ifeq ($(BLAS),accelerate)
CPPFLAGS += -DVV_CBLAS -DVV_ACCELERATE -DACCELERATE_NEW_LAPACK
LDLIBS   += -framework Accelerate
else ifeq ($(BLAS),other)
CPPFLAGS += -DVV_CBLAS
LDLIBS   += $(or $(BLAS_LIBS),-lcblas)
endif
CPPFLAGS += -DVV_BLAS_NAME='"$(BLAS)"'
whole_archive = $(if $(filter Darwin,$(shell uname)),-Wl$(comma)-force_load$(comma)$(1),-Wl$(comma)--whole-archive $(1) -Wl$(comma)--no-whole-archive)
ifneq ($(CUDA),)
include ref/backend/cuda/cuda.mk
endif
ifneq ($(BACKEND),cpu)
BACKEND_LINK := $(call whole_archive,$(BACKEND)) $(BACKEND_LIBS)
endif

# ---- library and command ----------------------------------------------------------------------------------------
CLI_SRC := $(sort $(wildcard ref/cli/*.c))
LIB_SRC := $(sort $(wildcard ref/*.c) $(filter-out $(CLI_SRC),$(wildcard ref/*/*.c $(if $(CUDA),,ref/backend/cpu/*.c))))
obj      = $(1:%.c=$(BUILD)/obj/%.o)
LIB     := $(BUILD)/libversavit.a
COMMAND := $(BUILD)/versavit

.PHONY: all build help deps
all: build
	@echo "library  $(LIB)"
	@echo "command  $(COMMAND)"
	@echo "next:    $(COMMAND) --help"
	@echo "         make demo     the whole method in the small, as a page to look at"
	@echo "         make check    all tests, in float and in double"
build: $(LIB) $(COMMAND)
	@:

help:
	@echo "make            build library and command ($(BUILD)/)"
	@echo "make demo       train the tiny model through all stages on synthetic scenes, evaluate, draw demo/report.html"
	@echo "make check      all tests, float and double (about 5 minutes)"
	@echo "make smoke      the demo in a minute: two updates of each stage, probes, the golden files (no root)"
	@echo "make table4     what each task does to the tower: six arms, five seeds, probes with 95 % intervals (an hour)"
	@echo "make check-all  exhaustive: every float of the elementary functions, all BLAS flavours, clang (nightly)"
	@echo "make check-torch  against PyTorch and transformers, live (makes a virtual environment of about 1 GB the first time)"
	@echo "make conformance  BACKEND=PATH.a: a line per operation and shape, PASS or FAIL (ONLY=\"gelu 130\")"
	@echo "make grade      OP=layernorm SRC=mine.c [UNTRUSTED=1]: your function in place of ours: right? how fast?"
	@echo "make fuzz       every reader of files, FUZZ_SECONDS=60 each (clang)"
	@echo "make golden     regenerate golden/ (double, BLAS=none): the same bytes on every machine"
	@echo "make lint       formatting, static analysis, direction of the includes"
	@echo "make format     clang-format on every C file"
	@echo "make deps       find or install the libraries needed"
	@echo "make install    library, headers, command, manual: PREFIX=/usr/local DESTDIR= (make uninstall takes them away)"
	@echo "make clean      remove build/ and demo/"
	@echo "variables: REAL=float|double BLAS=openblas|none|accelerate|other ARCH=native| SAN=1 BACKEND=cpu|cuda|PATH.a CC=gcc|clang WERROR=1"

deps:
	@scripts/install-deps

$(BUILD)/obj/%.o: %.c Makefile
	@mkdir -p $(@D)
	$(Q)$(CC) $(CPPFLAGS) $(FLAGS) $(CFLAGS) -MMD -MP -c $< -o $@

$(LIB): $(call obj,$(LIB_SRC))
	$(Q)rm -f $@ && $(AR) rcs $@ $^
	@echo "built    $@"

$(COMMAND): $(call obj,$(CLI_SRC)) $(LIB) $(filter-out cpu,$(BACKEND))
	$(Q)$(CC) $(FLAGS) $(CFLAGS) $(LDFLAGS) $(call obj,$(CLI_SRC)) $(BACKEND_LINK) $(LIB) $(LDLIBS) -o $@
	@echo "built    $@"

Q := $(if $(V),,@)
-include $(shell find $(BUILD)/obj -name '*.d' 2>/dev/null)

include tests/tests.mk

include install.mk
