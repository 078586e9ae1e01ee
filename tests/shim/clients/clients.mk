# The C client programs, into $(BUILD)/clients. Included by the top Makefile; alone: make -f tests/shim/clients/clients.mk
# CUDA_STUB_DIR holds the libcuda.so that linked programs are linked against; they find theirs at run time.
BUILD ?= build
CFLAGS_COMMON ?= -std=gnu11 -O2 -g -Wall -Wextra -Wconversion -Werror
CUDA_STUB_DIR ?= $(BUILD)/fake_driver

CLIENTS_DIR := tests/shim/clients
CLIENTS_LINKED := linked rtld_default rtld_next
CLIENTS_OVERFLOW := dlopened deepbind proc_address proc_address_v1
CLIENTS_OWN := threads contexts capture forks stream_order many handles
CLIENTS_BODY := $(addprefix $(BUILD)/clients/,overflow.o content.o client.o)
CLIENTS := $(addprefix $(BUILD)/clients/,$(CLIENTS_LINKED) $(CLIENTS_OVERFLOW) $(CLIENTS_OWN) plain rtld_next_find.so)

CLIENTS_CC = $(CC) -D_GNU_SOURCE $(CFLAGS_COMMON) -Ishim -pthread
CLIENTS_HEADERS := $(wildcard $(CLIENTS_DIR)/*.h) $(CLIENTS_DIR)/calls.def shim/abi/cuda_subset.h

.PHONY: clients
clients: $(CLIENTS)

$(BUILD)/clients/%.o: $(CLIENTS_DIR)/%.c $(CLIENTS_HEADERS)
	@mkdir -p $(@D)
	$(CLIENTS_CC) -c -o $@ $<

.SECONDARY: $(patsubst $(CLIENTS_DIR)/%.c,$(BUILD)/clients/%.o,$(wildcard $(CLIENTS_DIR)/*.c))

$(CLIENTS_LINKED:%=$(BUILD)/clients/%): $(BUILD)/clients/%: $(BUILD)/clients/%.o $(CLIENTS_BODY) $(CUDA_STUB_DIR)/libcuda.so
	$(CLIENTS_CC) -o $@ $(filter %.o,$^) -L$(CUDA_STUB_DIR) -lcuda -ldl

$(CLIENTS_OVERFLOW:%=$(BUILD)/clients/%): $(BUILD)/clients/%: $(BUILD)/clients/%.o $(CLIENTS_BODY)
	$(CLIENTS_CC) -o $@ $^ -ldl

$(CLIENTS_OWN:%=$(BUILD)/clients/%): $(BUILD)/clients/%: $(BUILD)/clients/%.o $(BUILD)/clients/client.o
	$(CLIENTS_CC) -o $@ $^ -ldl

$(BUILD)/clients/plain: $(BUILD)/clients/plain.o
	$(CLIENTS_CC) -o $@ $^ -ldl

$(BUILD)/clients/rtld_next_find.so: $(CLIENTS_DIR)/rtld_next_find.c
	@mkdir -p $(@D)
	$(CLIENTS_CC) -fPIC -shared -o $@ $< -ldl
