/* What happens on the way into and out of every exported call, whatever it does.
 *
 * In: is the driver gone, is this call told to fail (FAKECUDA_FAIL), are we inside a host function, is the driver
 * initialised, is there a usable context, does a capture forbid it; and the lock. Out: the lock. Counting is atomic. */
#ifndef FK_ENTRY_H
#define FK_ENTRY_H

#include "state.h"

enum fk_gate {
	FK_GATE_NONE,      /* no lock either: constant answers */
	FK_GATE_LOCK,      /* needs no initialisation */
	FK_GATE_INIT,      /* initialised */
	FK_GATE_CTX,      /* and a context is current, alive and not in error */
	FK_GATE_CTX_UNSAFE,  /* and no capture forbids it: cuThreadExchangeStreamCaptureMode's "potentially unsafe" */
	FK_GATE_INIT_UNSAFE,
};

enum fk_symbol {
#define FK_API(symbol, name, version, stream, gate, parameters, body) FK_ID_##symbol,
#define FK_REFUSE(symbol, name, version, stream) FK_ID_##symbol,
#include "fake_driver.def"
	FK_SYMBOLS
};

struct fk_call {
	struct fk_ctx *ctx; /* current; NULL unless the gate asked for one or there is one */
	bool locked, per_thread;
};

struct fk_symbol_row {
	const char *symbol, *name;
	int version, stream;
	void *function;
};

enum { FK_STREAM_ANY, FK_STREAM_LEGACY, FK_STREAM_PER_THREAD };

extern const struct fk_symbol_row fk_symbols[FK_SYMBOLS];
extern _Atomic unsigned long long fk_calls[FK_SYMBOLS];

CUresult fk_enter(struct fk_call *call, enum fk_symbol id, enum fk_gate gate, int stream);
CUresult fk_leave(const struct fk_call *call, CUresult result);
CUresult fk_refuse(enum fk_symbol id);
void fk_faults_read(const char *text); /* FAKECUDA_FAIL */

CUresult fk_init(unsigned int flags);
CUresult fk_usable(struct fk_ctx *ctx); /* SUCCESS, or what a call on it answers */

#endif
