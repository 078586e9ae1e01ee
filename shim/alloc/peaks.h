/* The most that lay in each tier, told to whoever comes after the program: GREENBOOST_REPORT names a file.
 *
 * To it is added a line of JSON, in one write(2) at its end, so that many processes may share one: at exit, and each time the
 * host memory has grown by 1/64, so that a killed program has left its mark; the last line of a pid counts.
 *
 *   {"pid":7,"begin_ms":90,"end_ms":95,"device":8,"split":4,"host_mapped":0,"managed":0,"pageable":0,"unified":0,"program":"x"}
 *
 * Peaks are bytes, over all devices, and need not be of one moment; times are of CLOCK_MONOTONIC. At most GB_PEAKS_LINE bytes. A
 * file is made where there is none, for this user alone; what is no regular file is left alone, as is a program that cannot
 * write there. No file named, nothing done. */
#ifndef GB_ALLOC_PEAKS_H
#define GB_ALLOC_PEAKS_H

#define GB_PEAKS_LINE 512

/* The program has reached the CUDA driver. Once a process. */
void gb_peaks_begin(void);

/* A block was placed outside VRAM, in part or whole. Any thread. */
void gb_peaks_grew(void);

#endif
