/* cuGetProcAddress, and the two questions about errors: answers that depend on nothing but the list. */
#include <string.h>

#include "api.h"

/* The newest row of `name` that `version` allows; *exists says whether a newer one was passed over. */
static const struct fk_symbol_row *best_row(const char *name, int version, bool per_thread, bool *exists)
{
	const struct fk_symbol_row *best = NULL;
	bool has_pair = false;

	for (int i = 0; i < FK_SYMBOLS; i++)
		if (fk_symbols[i].stream == FK_STREAM_PER_THREAD && strcmp(fk_symbols[i].name, name) == 0)
			has_pair = true;
	*exists = false;
	for (int i = 0; i < FK_SYMBOLS; i++) {
		const struct fk_symbol_row *row = &fk_symbols[i];
		int unwanted = per_thread && has_pair ? FK_STREAM_LEGACY : FK_STREAM_PER_THREAD;

		if (row->stream == unwanted || strcmp(row->name, name) != 0)
			continue;
		*exists = true;
		if (row->version <= version && (!best || row->version > best->version))
			best = row;
	}
	return best;
}

CUresult fk_get_proc_address(const char *name, void **function, int version, cuuint64_t flags,
			     CUdriverProcAddressQueryResult *status)
{
	const struct fk_symbol_row *row;
	bool exists;

	if (!name || !*name || !function || flags > CU_GET_PROC_ADDRESS_PER_THREAD_DEFAULT_STREAM)
		return CUDA_ERROR_INVALID_VALUE;
	row = best_row(name, version, flags == CU_GET_PROC_ADDRESS_PER_THREAD_DEFAULT_STREAM, &exists);
	*function = row ? row->function : NULL;
	if (status)
		*status = row      ? CU_GET_PROC_ADDRESS_SUCCESS
			  : exists ? CU_GET_PROC_ADDRESS_VERSION_NOT_SUFFICIENT
				   : CU_GET_PROC_ADDRESS_SYMBOL_NOT_FOUND;
	return row ? CUDA_SUCCESS : CUDA_ERROR_NOT_FOUND;
}

CUresult fk_error_text(CUresult error, const char **text, bool name)
{
	static const struct {
		int value;
		const char *name, *text;
	} rows[] = {
#define FK_ERROR(value, name, text) {value, "CUDA_" #name, text},
#include "errors.def"
#undef FK_ERROR
	};

	if (!text)
		return CUDA_ERROR_INVALID_VALUE;
	*text = NULL;
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++)
		if (rows[i].value == (int)error)
			*text = name ? rows[i].name : rows[i].text;
	return *text ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}
