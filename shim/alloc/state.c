#include "alloc/state.h"

#include "alloc/capture.h"
#include "alloc/deferred.h"
#include "alloc/devices.h"
#include "alloc/gate.h"
#include "alloc/idle.h"
#include "alloc/moves.h"
#include "alloc/peaks.h"
#include "base/libc.h"
#include "base/once.h"
#include "ledger/account.h"
#include "ledger/handle_table.h"
#include "ledger/ledger.h"
#include "lease/lease.h"
#include "tier/split.h"

static struct gb_once once;

/* CUDA does not survive a fork: in the child every handle is invalid, and so is every record of ours. Only this thread is
 * left, so nothing is locked here, and locks that other threads of the parent held are made anew. */
static void after_fork_in_child(void)
{
	gb_account_after_fork();
	gb_ledger_after_fork();
	gb_handles_after_fork();
	gb_deferred_after_fork();
	gb_capture_after_fork();
	gb_lease_after_fork_in_child();
	gb_devices_after_fork();
	gb_moves_after_fork();
	gb_idle_after_fork();
	gb_gate_after_fork();
	gb_split_set_after_fork();
}

static void start(void)
{
	gb_account_publish();
	gb_peaks_begin();
	gb_lease_start(gb_account_page_fd());
	gb_libc_at_fork(gb_lease_before_fork, gb_lease_after_fork_in_parent, after_fork_in_child);
}

void gb_state_start(void)
{
	gb_once(&once, start);
}
