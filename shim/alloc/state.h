/* The life of the shim's own state in a process: nothing before the program reaches CUDA or NVML, and in a forked child
 * a fresh start. */
#ifndef GB_ALLOC_STATE_H
#define GB_ALLOC_STATE_H

/* Publishes the counters and arms the fork handler, once. Cheap after that. Any thread. */
void gb_state_start(void);

#endif
