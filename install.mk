# make install     the command with its data and manual, the static and the shared library, headers, versavit.pc
# make uninstall   removes them again; same variables
# make shared      only the shared library, in the build folder
#
#   PREFIX=/usr/local   where it will be used
#   DESTDIR=            put in front of PREFIX while copying: for those who make packages (with ARCH= for every processor)
#
# The flavour is the usual one, or what REAL, BLAS, ARCH, CC and BACKEND say. The objects are those of the static library; the
# shared one shows versavit_* and nothing else. With a BACKEND of your own only the shared library carries it: no static one then.
PREFIX  ?= /usr/local
DESTDIR ?=

VERSION  := $(shell sed -n 's/.*define VERSAVIT_VERSION "\(.*\)"/\1/p' ref/versavit.h)
SO_MAJOR := $(firstword $(subst ., ,$(VERSION)))
ifeq ($(shell uname),Darwin)
SO_FILE  := libversavit.$(VERSION).dylib
SO_NAME  := libversavit.$(SO_MAJOR).dylib
SO_LINK  := libversavit.dylib
SO_FLAGS  = -dynamiclib -Wl,-install_name,$(PREFIX)/lib/$(SO_NAME) -Wl,-exported_symbol,'_versavit_*'
else
SO_FILE  := libversavit.so.$(VERSION)
SO_NAME  := libversavit.so.$(SO_MAJOR)
SO_LINK  := libversavit.so
SO_FLAGS  = -shared -Wl,-soname,$(SO_NAME) -Wl,--version-script=$(BUILD)/versavit.map $(if $(SAN),,-Wl,--no-undefined)
endif
SHARED   := $(BUILD)/$(SO_LINK)

.PHONY: shared man install uninstall
shared: $(SHARED)
$(SHARED): $(call obj,$(LIB_SRC)) $(filter-out cpu,$(BACKEND)) ref/versavit.h install.mk
	@echo '{ global: versavit_*; local: *; };' >$(BUILD)/versavit.map
	$(Q)$(CC) $(FLAGS) $(CFLAGS) $(LDFLAGS) $(SO_FLAGS) $(call obj,$(LIB_SRC)) $(BACKEND_LINK) $(LDLIBS) -o $@
	@echo "built    $@"

man: $(BUILD)/man/versavit.1
$(BUILD)/man/versavit.1: $(COMMAND) scripts/make-man
	$(Q)scripts/make-man $(COMMAND) $(@D)

# What the static library needs besides itself: the .pc files of others where they have one, plain flags where not. Of OpenBLAS
# always the flags: its .pc asks static programs for a Fortran compiler, of which we use nothing.
PC_REQUIRES = $(shell pkg-config --exists $(PC_LIBS) && echo $(PC_LIBS))
PC_PLAIN    = $(if $(PC_REQUIRES),,-lpng -ljpeg -ljansson -lpcre2-8 -lutf8proc -lnettle -lzip) $(if $(filter openblas,$(BLAS)),$(or $(shell pkg-config --libs openblas 2>/dev/null),-lopenblas)) \
              $(if $(filter other,$(BLAS)),$(or $(BLAS_LIBS),-lcblas)) $(if $(filter accelerate,$(BLAS)),-framework Accelerate)

TO = $(DESTDIR)$(PREFIX)
install: build shared man
	@case '$(PREFIX)' in /*) ;; *) echo 'install: PREFIX=$(PREFIX): expected a path from /' >&2; exit 2 ;; esac
	@set -e; for d in bin lib/pkgconfig include/versavit/base share/man/man1 share/versavit/configs share/versavit/cases share/versavit/mappings share/versavit/tokenizer; do \
	    install -d '$(TO)'/$$d; done
	$(Q)install -m 755 $(COMMAND) '$(TO)/bin/versavit'
	$(Q)$(if $(filter cpu,$(BACKEND)),install -m 644 $(LIB) '$(TO)/lib/libversavit.a')
	$(Q)install -m 755 $(SHARED) '$(TO)/lib/$(SO_FILE)'
	$(Q)ln -sf $(SO_FILE) '$(TO)/lib/$(SO_NAME)' && ln -sf $(SO_NAME) '$(TO)/lib/$(SO_LINK)'
	$(Q)$(if $(filter %.dylib,$(SO_LINK)),install_name_tool -id '$(PREFIX)/lib/$(SO_NAME)' '$(TO)/lib/$(SO_FILE)')
	$(Q)install -m 644 ref/versavit.h '$(TO)/include/versavit.h'
	$(Q)install -m 644 ref/backend/backend.h '$(TO)/include/versavit/backend.h'
	$(Q)install -m 644 ref/base/base.h '$(TO)/include/versavit/base/base.h'
	$(Q)install -m 644 data/configs/*.json '$(TO)/share/versavit/configs'
	$(Q)install -m 644 data/cases/*.json '$(TO)/share/versavit/cases'
	$(Q)install -m 644 data/mappings/*.json '$(TO)/share/versavit/mappings'
	$(Q)install -m 644 data/tokenizer/*.json '$(TO)/share/versavit/tokenizer'
	$(Q)install -m 644 $(BUILD)/man/*.1 '$(TO)/share/man/man1'
	@printf '%s\n' 'prefix=$(PREFIX)' 'libdir=$${prefix}/lib' 'includedir=$${prefix}/include' 'datadir=$${prefix}/share/versavit' '' \
	    'Name: versavit' 'Description: the vision tower of VersaViT, forward and backward' 'Version: $(VERSION)' \
	    'Cflags: -I$${includedir}$(if $(filter double,$(REAL)), -DVV_DOUBLE)' 'Libs: -L$${libdir} -lversavit' \
	    'Requires.private: $(strip $(PC_REQUIRES))' 'Libs.private: $(strip $(PC_PLAIN) -fopenmp -lm)' >'$(TO)/lib/pkgconfig/versavit.pc'
	@echo 'installed versavit $(VERSION) in $(TO)'
	@echo 'next:     cc my.c $$(pkg-config --cflags --libs versavit);  where libversavit is then not found: ldconfig, or LD_LIBRARY_PATH'

uninstall:
	$(Q)rm -f '$(TO)/bin/versavit' '$(TO)/lib/libversavit.a' '$(TO)/lib/$(SO_FILE)' '$(TO)/lib/$(SO_NAME)' '$(TO)/lib/$(SO_LINK)' \
	    '$(TO)/lib/pkgconfig/versavit.pc' '$(TO)/include/versavit.h' '$(TO)/include/versavit/backend.h' '$(TO)/include/versavit/base/base.h' \
	    '$(TO)/share/man/man1/versavit.1' '$(TO)'/share/man/man1/versavit-*.1
	$(Q)rm -f $(foreach f,$(wildcard data/configs/*.json data/cases/*.json data/mappings/*.json data/tokenizer/*.json),'$(TO)/share/versavit/$(f:data/%=%)')
	$(Q)cd '$(TO)' && for d in include/versavit/base include/versavit share/versavit/configs share/versavit/cases share/versavit/mappings share/versavit/tokenizer share/versavit; do \
	    rmdir $$d 2>/dev/null || true; done
	@echo 'removed  versavit from $(TO)'
