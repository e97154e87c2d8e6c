# The CUDA backend (included by the Makefile for BACKEND=cuda and BACKEND=cuda-standin)
#
#   make BACKEND=cuda            every function of backend.h on the GPU: build/float-cuda/versavit. Needs nvcc: on the PATH, in
#                                CUDA_HOME/bin or in /usr/local/cuda/bin. cuBLAS is looked for when the program runs.
#   make BACKEND=cuda-standin    the same files compiled for the processor against tests/cuda/standin, which runs them with values
#                                and is strict about memory and threads. No toolkit, no GPU; slow: for tests.
#   CUDA_ARCH="90"               build for these devices only (default: 75 80 86 89 90, and PTX of the last for newer ones)
CUDA_SRC := $(sort $(wildcard ref/backend/cuda/*.cu))
CUDA_OBJ := $(CUDA_SRC:%.cu=$(BUILD)/obj/%.o)
override BACKEND := $(BUILD)/cuda/backend.a
.DEFAULT_GOAL := all

ifneq ($(REAL),float)
$(error REAL=$(REAL): the CUDA backend computes in float; leave REAL out, or use the CPU)
endif

ifeq ($(CUDA),cuda)
NVCC := $(firstword $(shell command -v nvcc 2>/dev/null) $(wildcard $(CUDA_HOME)/bin/nvcc /usr/local/cuda/bin/nvcc))
ifeq ($(NVCC),)
$(error BACKEND=cuda: nvcc was not found on the PATH, in CUDA_HOME/bin or in /usr/local/cuda/bin; the CPU needs none of it: make)
endif
CUDA_DIR  := $(realpath $(shell $(NVCC) --dryrun -x cu /dev/null -o /dev/null 2>&1 | sed -n 's/.* TOP=//p'))
CUDA_LIB  := $(firstword $(wildcard $(CUDA_DIR)/lib64 $(CUDA_DIR)/lib))
CUDA_ARCH ?= $(filter 75 80 86 89 90,$(shell $(NVCC) --list-gpu-arch | sed -n 's/compute_//p' | sort -n))
CUDA_CODE := $(foreach a,$(CUDA_ARCH),-gencode arch=compute_$(a),code=sm_$(a)) \
             -gencode arch=compute_$(lastword $(CUDA_ARCH)),code=compute_$(lastword $(CUDA_ARCH))
# -fmad=false: elementary functions keep the CPU's bits, and fmaf stands where it is meant
CUDA_CXX  := $(NVCC) -std=c++17 -O3 -lineinfo -fmad=false -Iref $(CUDA_CODE) $(if $(WERROR),-Werror all-warnings) \
             -Xcompiler -Wall,-Wextra,-fPIC,-ffp-contract=off
BACKEND_LIBS += $(CUDA_LIB)/libcudart_static.a -Wl,-rpath,$(CUDA_LIB) -lstdc++ -ldl -lrt -lpthread
else
CXX_STANDIN := $(if $(filter clang%,$(CC_NAME)),clang++,g++) -std=c++17 -O2 -g -Wall -Wextra -Wno-unknown-pragmas \
               -Wno-missing-field-initializers -ffp-contract=off -fPIC -U_FORTIFY_SOURCE -DVVCU_ROOM=262144 -Itests/cuda/standin -Iref $(if $(ARCH),-march=$(ARCH)) $(if $(WERROR),-Werror) \
               $(if $(SAN),-fsanitize=address$(comma)undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer -fsanitize-sections=vvsi_shared)
CUDA_CXX     = $(CXX_STANDIN) -x c++
STANDIN     := $(patsubst %.cpp,$(BUILD)/obj/%.o,$(sort $(wildcard tests/cuda/standin/*.cpp)))
CUDA_OBJ    += $(STANDIN)
BACKEND_LIBS += -rdynamic -lstdc++ -ldl
$(STANDIN): $(BUILD)/obj/%.o: %.cpp Makefile ref/backend/cuda/cuda.mk
	@mkdir -p $(@D)
	$(Q)$(CXX_STANDIN) -MMD -MP -c $< -o $@
endif

$(BUILD)/obj/ref/backend/cuda/%.o: ref/backend/cuda/%.cu Makefile ref/backend/cuda/cuda.mk
	@mkdir -p $(@D)
	$(Q)$(CUDA_CXX) -MMD -MP -c $< -o $@

$(BACKEND): $(CUDA_OBJ)
	@mkdir -p $(@D)
	$(Q)rm -f $@ && $(AR) rcs $@ $^
	@echo "built    $@"

ifeq ($(CUDA),cuda-standin)
# the stand-in finds what is planted in tests/cuda/mistakes.cu
.PHONY: check-standin
$(BUILD)/tests/cuda/mistakes: tests/cuda/mistakes.cu $(BACKEND) $(BUILD)/libversavit.a
	@mkdir -p $(@D)
	$(Q)$(CXX_STANDIN) -x c++ $< -x none $(BACKEND_LINK) $(LIB) -fopenmp $(LDLIBS) -o $@
check-standin: $(BUILD)/tests/cuda/mistakes
	@sh tests/cuda/run.sh $<
endif
