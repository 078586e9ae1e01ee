/* What the program allocated altogether, kept in a file for its next run: the next run can then keep one proportion of VRAM
 * from its first allocation on (GREENBOOST_EXPECT).
 *
 * The file (GREENBOOST_REMEMBER; `greenboost run` names one for each command) holds one decimal number: bytes, on the
 * device that held most. It is replaced whole, by rename: when the total has grown by 1/64 with something outside VRAM, so
 * that a killed program has left its mark, and at exit where something was expected. No file named, nothing done. */
#ifndef GB_ALLOC_REMEMBER_H
#define GB_ALLOC_REMEMBER_H

/* A block was placed outside VRAM, in part or whole. Any thread; two at once write the same file one after the other. */
void gb_remember_growth(void);

#endif
