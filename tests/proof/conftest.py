"""Proofs are about the whole: a kernel, a daemon, programs. Each makes what it needs, and takes it away again."""
