# The shim: $(BUILD)/libgreenboost.so, and $(BUILD)/libgreenboost_unit.so, the same sources with every function visible,
# for tests that call them. Needs a C compiler and make, nothing else.
BUILD ?= build
CFLAGS_COMMON ?= -std=gnu11 -O2 -g -fPIC -Wall -Wextra -Wconversion -Werror

SHIM_LIB := $(BUILD)/libgreenboost.so
SHIM_UNIT_LIB := $(BUILD)/libgreenboost_unit.so
SHIM_SOURCES := $(sort $(wildcard shim/*/*.c)) shim/entry/dlsym.S
SHIM_OBJECTS := $(patsubst shim/%,$(BUILD)/shim/%.o,$(SHIM_SOURCES))
# Its own dlsym would stand in for the test program's: left out.
SHIM_UNIT_OBJECTS := $(patsubst shim/%,$(BUILD)/shim_unit/%.o,$(filter %.c,$(SHIM_SOURCES)))
SHIM_FLAGS = $(CFLAGS_COMMON) -D_GNU_SOURCE -Ishim -ftls-model=initial-exec -fno-plt -MMD -MP

$(BUILD)/shim/%.o: shim/%
	@mkdir -p $(@D)
	$(CC) $(SHIM_FLAGS) -fvisibility=hidden -c -o $@ $<

$(BUILD)/shim_unit/%.o: shim/%
	@mkdir -p $(@D)
	$(CC) $(SHIM_FLAGS) -c -o $@ $<

$(BUILD)/shim/exports.ver: shim/exports.ver.in shim/hooks.def
	@mkdir -p $(@D)
	$(CC) -E -P -x c -Ishim -o $@ $<

# Replaced by rename: a process that has the old one mapped keeps it whole.
$(SHIM_LIB): $(SHIM_OBJECTS) $(BUILD)/shim/exports.ver
	$(CC) $(SANITIZE) -shared -Wl,-soname,libgreenboost.so -Wl,-z,now -Wl,-z,relro -Wl,-Bsymbolic \
		-Wl,--version-script=$(BUILD)/shim/exports.ver -o $@.new $(SHIM_OBJECTS)
	mv -f $@.new $@

$(SHIM_UNIT_LIB): $(SHIM_UNIT_OBJECTS)
	$(CC) $(SANITIZE) -shared -Wl,-Bsymbolic -o $@ $(SHIM_UNIT_OBJECTS)

-include $(SHIM_OBJECTS:.o=.d) $(SHIM_UNIT_OBJECTS:.o=.d)
