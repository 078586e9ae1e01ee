# The simulated driver: a libcuda and a libnvidia-ml for tests. By itself, from the top directory:
#   make -f tests/shim/fake_driver/fake_driver.mk
BUILD ?= build
CFLAGS_COMMON ?= -std=gnu11 -O2 -g -Wall -Wextra -Wconversion -Werror

FAKE_DRIVER := $(BUILD)/fake_driver/libcuda.so.1 $(BUILD)/fake_driver/libnvidia-ml.so.1
fake_driver_dir := tests/shim/fake_driver
fake_driver_nvml := $(fake_driver_dir)/nvml.c $(fake_driver_dir)/nvml_device.c $(fake_driver_dir)/config.c
fake_driver_cuda := $(filter-out $(fake_driver_dir)/nvml%.c,$(wildcard $(fake_driver_dir)/*.c))
fake_driver_rest := $(wildcard $(fake_driver_dir)/*.h $(fake_driver_dir)/*.def $(fake_driver_dir)/list/*.def)
fake_driver_flags = $(CPPFLAGS) $(CFLAGS_COMMON) $(CFLAGS) -D_GNU_SOURCE -fPIC -fvisibility=hidden -pthread
fake_driver_link = $(LDFLAGS) -shared -pthread -Wl,-Bsymbolic -Wl,-z,nodelete

.PHONY: fake-driver
fake-driver: $(FAKE_DRIVER) ## build the simulated driver

$(BUILD)/fake_driver/cuda/%.o: $(fake_driver_dir)/%.c $(fake_driver_rest)
	@mkdir -p $(@D)
	$(CC) $(fake_driver_flags) -c -o $@ $<

$(BUILD)/fake_driver/libcuda.so.1: $(fake_driver_cuda:$(fake_driver_dir)/%.c=$(BUILD)/fake_driver/cuda/%.o) \
		$(fake_driver_dir)/libcuda.map
	$(CC) $(fake_driver_flags) $(fake_driver_link) -Wl,-soname,libcuda.so.1 \
		-Wl,--version-script=$(fake_driver_dir)/libcuda.map -o $@ $(filter %.o,$^) -ldl
	ln -sf libcuda.so.1 $(@D)/libcuda.so

$(BUILD)/fake_driver/libnvidia-ml.so.1: $(fake_driver_nvml:$(fake_driver_dir)/%.c=$(BUILD)/fake_driver/cuda/%.o) \
		$(fake_driver_dir)/libnvidia-ml.map
	$(CC) $(fake_driver_flags) $(fake_driver_link) -Wl,-soname,libnvidia-ml.so.1 \
		-Wl,--version-script=$(fake_driver_dir)/libnvidia-ml.map -o $@ $(filter %.o,$^) -ldl
	ln -sf libnvidia-ml.so.1 $(@D)/libnvidia-ml.so

# The names that programs are linked by are made along with the libraries.
$(BUILD)/fake_driver/libcuda.so: $(BUILD)/fake_driver/libcuda.so.1 ;
