/* Every exported CUDA symbol: its prototype, its body's frame and its row in the table, all from fake_driver.def. */
#include "api.h"

#define FK_EXPORT __attribute__((visibility("default")))

#define FK_API(symbol, name, version, stream, gate, parameters, body) FK_EXPORT CUresult symbol parameters;
#define FK_REFUSE(symbol, name, version, stream) FK_EXPORT CUresult symbol(void);
#include "fake_driver.def"

#define FK_API(symbol, name, version, stream, gate, parameters, body)                                 \
	CUresult symbol parameters                                                                    \
	{                                                                                             \
		struct fk_call frame, *call = &frame;                                                 \
		CUresult result = fk_enter(call, FK_ID_##symbol, FK_GATE_##gate, FK_STREAM_##stream); \
                                                                                                      \
		if (result == CUDA_SUCCESS)                                                           \
			result = (body);                                                              \
		return fk_leave(call, result);                                                        \
	}
#define FK_REFUSE(symbol, name, version, stream)                                                \
	CUresult symbol(void)                                                                   \
	{                                                                                       \
		struct fk_call call;                                                            \
		CUresult result = fk_enter(&call, FK_ID_##symbol, FK_GATE_NONE, FK_STREAM_ANY); \
                                                                                                \
		return result == CUDA_SUCCESS ? fk_refuse(FK_ID_##symbol) : result;             \
	}
#include "fake_driver.def"

const struct fk_symbol_row fk_symbols[FK_SYMBOLS] = {
#define FK_API(symbol, name, version, stream, gate, parameters, body)              \
	{#symbol, name, version, FK_STREAM_##stream, (void *)(uintptr_t)(symbol)},
#define FK_REFUSE(symbol, name, version, stream)                                   \
	{#symbol, name, version, FK_STREAM_##stream, (void *)(uintptr_t)(symbol)},
#include "fake_driver.def"
};
