/* dlsym, the second door: void *dlsym(void *handle, const char *name).
 *
 * RTLD_NEXT means "after the caller", and glibc knows the caller by the return address. So whatever is not answered here is
 * jumped to, not called: the real dlsym then sees the stack as if this door were not there.
 *
 * Names that do not begin like the driver's or NVML's cost two comparisons. They are read byte by byte: an empty name may
 * be the last byte of a mapped page. For the others gb_dlsym_answer(handle, name, caller) returns {value, answered}. */

#if defined(__x86_64__)

	.text
	.globl	dlsym
	.type	dlsym, @function
	.p2align 4
dlsym:
	.cfi_startproc
	endbr64
	testq	%rsi, %rsi
	jz	.Lforward
	cmpb	$'c', (%rsi)
	jne	.Lnot_cuda
	cmpb	$'u', 1(%rsi)
	je	.Lask
	jmp	.Lforward
.Lnot_cuda:
	cmpb	$'n', (%rsi)
	jne	.Lforward
	cmpb	$'v', 1(%rsi)
	je	.Lask
.Lforward:
	movq	gb_dlsym_next(%rip), %rax
	testq	%rax, %rax
	jz	.Lfind
	jmp	*%rax
.Lfind:
	pushq	%rdi
	.cfi_adjust_cfa_offset 8
	pushq	%rsi
	.cfi_adjust_cfa_offset 8
	subq	$8, %rsp
	.cfi_adjust_cfa_offset 8
	call	gb_real_dlsym
	addq	$8, %rsp
	.cfi_adjust_cfa_offset -8
	popq	%rsi
	.cfi_adjust_cfa_offset -8
	popq	%rdi
	.cfi_adjust_cfa_offset -8
	jmp	*%rax
.Lask:
	movq	(%rsp), %rdx
	pushq	%rdi
	.cfi_adjust_cfa_offset 8
	pushq	%rsi
	.cfi_adjust_cfa_offset 8
	subq	$8, %rsp
	.cfi_adjust_cfa_offset 8
	call	gb_dlsym_answer
	addq	$8, %rsp
	.cfi_adjust_cfa_offset -8
	popq	%rsi
	.cfi_adjust_cfa_offset -8
	popq	%rdi
	.cfi_adjust_cfa_offset -8
	testq	%rdx, %rdx
	jz	.Lforward
	ret
	.cfi_endproc
	.size	dlsym, .-dlsym

#elif defined(__aarch64__)

	.text
	.globl	dlsym
	.type	dlsym, %function
	.p2align 4
dlsym:
	.cfi_startproc
	hint	#34			/* bti c */
	cbz	x1, .Lforward
	ldrb	w2, [x1]
	cmp	w2, #'c'
	b.ne	.Lnot_cuda
	ldrb	w2, [x1, #1]
	cmp	w2, #'u'
	b.eq	.Lask
	b	.Lforward
.Lnot_cuda:
	cmp	w2, #'n'
	b.ne	.Lforward
	ldrb	w2, [x1, #1]
	cmp	w2, #'v'
	b.eq	.Lask
.Lforward:
	adrp	x16, gb_dlsym_next
	ldr	x16, [x16, #:lo12:gb_dlsym_next]
	cbz	x16, .Lfind
	br	x16
.Lfind:
	stp	x29, x30, [sp, #-32]!
	.cfi_adjust_cfa_offset 32
	.cfi_rel_offset x29, 0
	.cfi_rel_offset x30, 8
	stp	x0, x1, [sp, #16]
	bl	gb_real_dlsym
	mov	x16, x0
	ldp	x0, x1, [sp, #16]
	ldp	x29, x30, [sp], #32
	.cfi_adjust_cfa_offset -32
	.cfi_restore x29
	.cfi_restore x30
	br	x16
.Lask:
	stp	x29, x30, [sp, #-32]!
	.cfi_adjust_cfa_offset 32
	.cfi_rel_offset x29, 0
	.cfi_rel_offset x30, 8
	stp	x0, x1, [sp, #16]
	mov	x2, x30
	bl	gb_dlsym_answer
	cbnz	x1, .Lanswered
	ldp	x0, x1, [sp, #16]
	ldp	x29, x30, [sp], #32
	.cfi_adjust_cfa_offset -32
	.cfi_restore x29
	.cfi_restore x30
	b	.Lforward
	.cfi_adjust_cfa_offset 32
	.cfi_rel_offset x29, 0
	.cfi_rel_offset x30, 8
.Lanswered:
	ldp	x29, x30, [sp], #32
	.cfi_adjust_cfa_offset -32
	.cfi_restore x29
	.cfi_restore x30
	ret
	.cfi_endproc
	.size	dlsym, .-dlsym

#else
#error "GreenBoost runs on x86-64 and aarch64"
#endif

	.section .note.GNU-stack, "", %progbits
