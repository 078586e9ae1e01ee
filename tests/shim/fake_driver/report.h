/* The report of what a process did and left behind (FAKECUDA_REPORT): JSON, written once, at exit. README.md has the
 * form.
 *
 * Violations are kept as text, at most FK_VIOLATIONS_MAX of them. Guarded by fk.lock; writing happens when only one
 * thread is left. A report that cannot be written costs one line on stderr. */
#ifndef FK_REPORT_H
#define FK_REPORT_H

#define FK_VIOLATIONS_MAX 1000

void fk_report_start(void);
void fk_report_forked(void); /* a child reports only if the file's name has a %p for its process id */
void fk_report_violation(const char *text);
void fk_report_write(void);

#endif
